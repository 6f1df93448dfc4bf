import { readFileSync } from 'node:fs'
import { homedir } from 'node:os'
import { delimiter, dirname, join, resolve } from 'node:path'

import { parse, stringify } from 'yaml'

import { kubeconfigInvalid } from './errors.ts'
import { loadInCluster } from './in-cluster.ts'

/** A kubeconfig as it is on disk (`v1 Config`); fields this client does not use are kept. File names in it are absolute once loaded. */
export interface Kubeconfig {
  readonly apiVersion: 'v1'
  readonly kind: 'Config'
  readonly clusters: readonly { readonly name: string; readonly cluster: KubeconfigCluster }[]
  readonly users: readonly { readonly name: string; readonly user: KubeconfigUser }[]
  readonly contexts: readonly { readonly name: string; readonly context: KubeconfigContext }[]
  readonly 'current-context'?: string | undefined
  readonly [key: string]: unknown
}

export interface KubeconfigCluster {
  readonly server: string
  readonly 'certificate-authority'?: string | undefined
  readonly 'certificate-authority-data'?: string | undefined
  readonly 'insecure-skip-tls-verify'?: boolean | undefined
  readonly 'tls-server-name'?: string | undefined
  readonly 'proxy-url'?: string | undefined
  readonly [key: string]: unknown
}

export interface KubeconfigUser {
  readonly token?: string | undefined
  readonly tokenFile?: string | undefined
  readonly 'client-certificate'?: string | undefined
  readonly 'client-certificate-data'?: string | undefined
  readonly 'client-key'?: string | undefined
  readonly 'client-key-data'?: string | undefined
  readonly username?: string | undefined
  readonly password?: string | undefined
  readonly as?: string | undefined
  readonly 'as-uid'?: string | undefined
  readonly 'as-groups'?: readonly string[] | undefined
  readonly 'as-user-extra'?: Readonly<Record<string, readonly string[]>> | undefined
  readonly exec?: KubeconfigExec | undefined
  readonly [key: string]: unknown
}

export interface KubeconfigContext {
  readonly cluster: string
  readonly user: string
  readonly namespace?: string | undefined
  readonly [key: string]: unknown
}

/** A credential plugin (client.authentication.k8s.io). */
export interface KubeconfigExec {
  readonly apiVersion?: string | undefined
  readonly command: string
  readonly args?: readonly string[] | null | undefined
  readonly env?: readonly { readonly name: string; readonly value: string }[] | null | undefined
  readonly provideClusterInfo?: boolean | undefined
  /** Whether the plugin may use standard input: `Never`, `IfAvailable` or `Always`. Required with v1. */
  readonly interactiveMode?: string | undefined
  readonly installHint?: string | undefined
  readonly [key: string]: unknown
}

export interface LoadKubeconfigOptions {
  /** One file. Default: the files of `KUBECONFIG`, else `~/.kube/config`, else the service account of the pod we run in. */
  readonly path?: string | undefined
  /** Default `process.env`. */
  readonly env?: Readonly<Record<string, string | undefined>> | undefined
}

/**
 * Reads the kubeconfig kubectl would use. Of several files in `KUBECONFIG` the first to name a cluster, user, context or
 * the current context wins; files that do not exist are passed over. Throws FAIRLEAD_KUBE_KUBECONFIG.
 */
export function loadKubeconfig({ path, env = process.env }: LoadKubeconfigOptions = {}): Kubeconfig {
  if (path !== undefined) {
    return loadFile(path)
  }
  const listed = (env['KUBECONFIG'] ?? '').split(delimiter).filter((file) => file !== '')
  const files = listed.length > 0 ? listed : [join(env['HOME'] ?? homedir(), '.kube', 'config')]
  const found = files.flatMap((file) => loadFileIfExists(file) ?? [])
  if (found.length > 0) {
    return mergeKubeconfigs(...found)
  }
  const inCluster = listed.length === 0 ? loadInCluster(env) : undefined
  if (inCluster === undefined) {
    throw kubeconfigInvalid(files.join(delimiter), 'no such file', 'Start a cluster, or name a kubeconfig file')
  }
  return inCluster
}

/** Joins kubeconfigs by kubectl's rule: the first to give a name or a value wins. */
export function mergeKubeconfigs(...configs: readonly Kubeconfig[]): Kubeconfig {
  const rest = Object.assign({}, ...configs.toReversed()) as Kubeconfig
  return {
    ...rest,
    clusters: firstByName(configs.map(({ clusters }) => clusters)),
    users: firstByName(configs.map(({ users }) => users)),
    contexts: firstByName(configs.map(({ contexts }) => contexts)),
    'current-context': configs
      .map((config) => config['current-context'])
      .find((name) => name !== undefined && name !== ''),
  }
}

function firstByName<T extends { readonly name: string }>(lists: readonly (readonly T[])[]): T[] {
  const byName = new Map<string, T>()
  for (const entry of lists.flat()) {
    if (!byName.has(entry.name)) {
      byName.set(entry.name, entry)
    }
  }
  return [...byName.values()]
}

export interface CreateKubeconfigOptions {
  /** Name of the cluster, the user and the context alike. */
  readonly name: string
  readonly server: string
  /** PEM. */
  readonly certificateAuthority?: string | undefined
  readonly token?: string | undefined
  /** PEM. */
  readonly clientCertificate?: string | undefined
  /** PEM. */
  readonly clientKey?: string | undefined
  readonly namespace?: string | undefined
}

/** A kubeconfig with one context, ready for {@link connectKube}, {@link renderKubeconfig} or {@link mergeKubeconfigs}. */
export function createKubeconfig(options: CreateKubeconfigOptions): Kubeconfig {
  const { name, server, token, namespace } = options
  return {
    apiVersion: 'v1',
    kind: 'Config',
    clusters: [{ name, cluster: { server, 'certificate-authority-data': toBase64(options.certificateAuthority) } }],
    users: [
      {
        name,
        user: {
          'client-certificate-data': toBase64(options.clientCertificate),
          'client-key-data': toBase64(options.clientKey),
          token,
        },
      },
    ],
    contexts: [{ name, context: { cluster: name, user: name, namespace } }],
    'current-context': name,
  }
}

function toBase64(text: string | undefined): string | undefined {
  return text === undefined ? undefined : Buffer.from(text).toString('base64')
}

/** The YAML of a kubeconfig file. It holds credentials: write it with mode 0600. */
export function renderKubeconfig(kubeconfig: Kubeconfig): string {
  return stringify(kubeconfig, { lineWidth: 0 })
}

function loadFileIfExists(file: string): Kubeconfig | undefined {
  try {
    return loadFile(file)
  } catch (error) {
    if (error instanceof Error && (error.cause as NodeJS.ErrnoException | undefined)?.code === 'ENOENT') {
      return undefined
    }
    throw error
  }
}

function loadFile(file: string): Kubeconfig {
  let text: string
  try {
    text = readFileSync(file, 'utf8')
  } catch (cause) {
    const state = (cause as NodeJS.ErrnoException).code === 'ENOENT' ? 'no such file' : 'file cannot be read'
    throw kubeconfigInvalid(file, state, 'Name a kubeconfig file that exists and is readable', cause)
  }
  return parseKubeconfig(text, file)
}

/** Parses a kubeconfig file's text; relative file names in it are taken from the folder of `file`. Throws FAIRLEAD_KUBE_KUBECONFIG. */
export function parseKubeconfig(text: string, file: string): Kubeconfig {
  const value = parseYaml(text, file)
  const from = dirname(resolve(file))
  const current = value['current-context']
  return {
    ...value,
    apiVersion: 'v1',
    kind: 'Config',
    clusters: named(value, 'clusters', 'cluster', file).map(({ name, body }) => {
      if (typeof body['server'] !== 'string') {
        throw kubeconfigInvalid(file, `cluster "${name}" has no server`, 'Set server to the URL of the API server')
      }
      return { name, cluster: { ...absolute(body, ['certificate-authority'], from), server: body['server'] } }
    }),
    users: named(value, 'users', 'user', file).map(({ name, body }) => {
      return { name, user: absoluteExec(absolute(body, ['client-certificate', 'client-key', 'tokenFile'], from), from) }
    }),
    contexts: named(value, 'contexts', 'context', file).map(({ name, body }) => {
      const { cluster, user } = body
      if (typeof cluster !== 'string') {
        throw kubeconfigInvalid(file, `context "${name}" names no cluster`, 'Set cluster and user of the context')
      }
      return { name, context: { ...body, cluster, user: typeof user === 'string' ? user : '' } }
    }),
    'current-context': typeof current === 'string' && current !== '' ? current : undefined,
  }
}

function parseYaml(text: string, file: string): Record<string, unknown> {
  let value: unknown
  try {
    value = parse(text)
  } catch (cause) {
    throw kubeconfigInvalid(file, 'file is not YAML', 'Correct the file, or name another', cause)
  }
  if (value === null || value === undefined) {
    return {}
  }
  if (!isRecord(value)) {
    throw kubeconfigInvalid(file, 'file is not a mapping', 'Correct the file, or name another')
  }
  return value
}

function named(
  value: Record<string, unknown>,
  list: string,
  key: string,
  file: string,
): { name: string; body: Record<string, unknown> }[] {
  const entries = value[list] ?? []
  if (!Array.isArray(entries)) {
    throw kubeconfigInvalid(file, `${list} is not a list`, 'Correct the file, or name another')
  }
  return entries.map((entry: unknown, index) => {
    const name = isRecord(entry) ? entry['name'] : undefined
    const body = isRecord(entry) ? (entry[key] ?? {}) : undefined
    if (typeof name !== 'string' || !isRecord(body)) {
      throw kubeconfigInvalid(file, `${list}[${index}] has no name or no ${key}`, 'Correct the file, or name another')
    }
    return { name, body }
  })
}

function absolute(body: Record<string, unknown>, keys: readonly string[], from: string): Record<string, unknown> {
  const changed = keys.flatMap((key) => {
    const file = body[key]
    return typeof file === 'string' && file !== '' ? [[key, resolve(from, file)] as const] : []
  })
  return { ...body, ...Object.fromEntries(changed) }
}

/** A plugin named with a slash is a file beside the kubeconfig; one without is looked for in PATH. */
function absoluteExec(user: Record<string, unknown>, from: string): Record<string, unknown> {
  const { exec } = user
  const command = isRecord(exec) ? exec['command'] : undefined
  return isRecord(exec) && typeof command === 'string' && /[/\\]/.test(command)
    ? { ...user, exec: { ...exec, command: resolve(from, command) } }
    : user
}

function isRecord(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}
