import { spawn } from 'node:child_process'

import { credentialsUnavailable, kubeconfigInvalid } from './errors.ts'
import type { CodedError } from './errors.ts'
import { createPemSource } from './pem-source.ts'
import type { KubeconfigCluster, KubeconfigExec } from './kubeconfig.ts'

export interface ExecPluginOptions {
  /** Name of the user in the kubeconfig, for errors. */
  readonly name: string
  readonly cluster: KubeconfigCluster
  readonly env: Readonly<Record<string, string | undefined>>
  readonly now?: (() => number) | undefined
  readonly execDeadlineMs?: number | undefined
  /** Whether somebody sits at standard input. Default: it is a terminal. */
  readonly isInteractive?: boolean | undefined
}

/** What a plugin gave. */
export interface ExecCredential {
  readonly token: string | undefined
  readonly cert: string | undefined
  readonly key: string | undefined
  /** Milliseconds it may be used. */
  readonly lifeMs: number
}

const apiVersions = ['client.authentication.k8s.io/v1', 'client.authentication.k8s.io/v1beta1']
const interactiveModes = ['Never', 'IfAvailable', 'Always']
const maxOutputBytes = 1024 * 1024

/** Refuses what kubectl refuses. Throws FAIRLEAD_KUBE_KUBECONFIG. */
export function checkExecPlugin(exec: KubeconfigExec, name: string): void {
  const { apiVersion, interactiveMode } = exec
  if (apiVersion !== undefined && !apiVersions.includes(apiVersion)) {
    const state = `plugin of user "${name}" has apiVersion "${apiVersion}", expected one of: ${apiVersions.join(', ')}`
    throw kubeconfigInvalid(name, state, 'Update the plugin, and apiVersion in the kubeconfig')
  }
  if (interactiveMode === undefined ? apiVersion === apiVersions[0] : !interactiveModes.includes(interactiveMode)) {
    const state = `plugin of user "${name}" has interactiveMode "${interactiveMode ?? ''}", expected one of: ${interactiveModes.join(', ')}`
    throw kubeconfigInvalid(name, state, 'Set interactiveMode of the plugin, mostly to IfAvailable')
  }
}

/** Runs a credential plugin: KUBERNETES_EXEC_INFO in, an ExecCredential on its standard output. Throws FAIRLEAD_KUBE_CREDENTIALS. */
export async function runExecPlugin(exec: KubeconfigExec, options: ExecPluginOptions): Promise<ExecCredential> {
  const { isInteractive = process.stdin.isTTY } = options
  const interactive = exec.interactiveMode !== 'Never' && isInteractive
  if (exec.interactiveMode === 'Always' && !interactive) {
    throw credentialsUnavailable(
      options.name,
      `plugin "${exec.command}" needs a terminal, and there is none`,
      'Log in from a terminal, or use credentials made for programs',
    )
  }
  const apiVersion = exec.apiVersion ?? 'client.authentication.k8s.io/v1'
  const info = { apiVersion, kind: 'ExecCredential', spec: { interactive, ...describeCluster(exec, options.cluster) } }
  return parseExecCredential(await runPlugin(exec, info, options), exec, options)
}

async function runPlugin(
  exec: KubeconfigExec,
  info: { readonly spec: { readonly interactive: boolean } },
  options: ExecPluginOptions,
): Promise<string> {
  const { name, execDeadlineMs = 60_000 } = options
  const extra = Object.fromEntries((exec.env ?? []).map((entry) => [entry.name, entry.value]))
  const env = { ...options.env, ...extra, KUBERNETES_EXEC_INFO: JSON.stringify(info) }
  const hint = exec.installHint?.trim() ?? 'Run the plugin by hand to see what it needs, then try again'
  const fail = (state: string, cause?: unknown): CodedError =>
    credentialsUnavailable(name, `plugin "${exec.command}" ${state}`, hint, cause)
  const { promise, resolve, reject } = Promise.withResolvers<string>()
  // A plugin that asks its user does so by standard error.
  const terminal = info.spec.interactive ? 'inherit' : undefined
  const child = spawn(exec.command, [...(exec.args ?? [])], {
    env,
    stdio: [terminal ?? 'ignore', 'pipe', terminal ?? 'pipe'],
  })
  // Not spawn's own timeout: its timer outlives a plugin that is not installed.
  const timer = setTimeout(() => child.kill('SIGKILL'), execDeadlineMs)
  let output = ''
  let said = ''
  child.stdout?.setEncoding('utf8').on('data', (text: string) => {
    output += text
    if (output.length > maxOutputBytes) {
      child.kill('SIGKILL')
      reject(fail(`printed more than ${maxOutputBytes} bytes`))
    }
  })
  child.stderr?.setEncoding('utf8').on('data', (text: string) => (said = (said + text).slice(-400)))
  child.on('error', (cause: NodeJS.ErrnoException) => {
    reject(fail(cause.code === 'ENOENT' ? 'is not installed' : `cannot be started: ${cause.message}`, cause))
  })
  child.on('close', (code, signal) => {
    if (code === 0) {
      resolve(output)
    } else if (signal === 'SIGKILL') {
      reject(fail(`gave no answer within ${execDeadlineMs} ms`))
    } else {
      reject(fail(`failed with exit code ${code ?? signal}${said.trim() === '' ? '' : `: ${said.trim()}`}`))
    }
  })
  return promise.finally(() => clearTimeout(timer))
}

/** The cluster as a plugin is told of it, with the configuration its extension holds for plugins. */
function describeCluster(exec: KubeconfigExec, cluster: KubeconfigCluster): object {
  if (exec.provideClusterInfo !== true) {
    return {}
  }
  const { extensions } = cluster
  const known = Array.isArray(extensions) ? (extensions as readonly { name?: unknown; extension?: unknown }[]) : []
  const pem = createPemSource(cluster['certificate-authority-data'], cluster['certificate-authority'])()
  return {
    cluster: {
      server: cluster.server,
      'tls-server-name': cluster['tls-server-name'],
      'insecure-skip-tls-verify': cluster['insecure-skip-tls-verify'],
      'certificate-authority-data': pem === undefined ? undefined : Buffer.from(pem).toString('base64'),
      'proxy-url': cluster['proxy-url'],
      'disable-compression': cluster['disable-compression'],
      config: known.find(({ name }) => name === 'client.authentication.k8s.io/exec')?.extension,
    },
  }
}

function parseExecCredential(text: string, exec: KubeconfigExec, options: ExecPluginOptions): ExecCredential {
  const hint = 'Check the version of the plugin against the apiVersion in the kubeconfig'
  const fail = (state: string, cause?: unknown): CodedError =>
    credentialsUnavailable(options.name, `plugin "${exec.command}" ${state}`, hint, cause)
  let printed: { apiVersion?: unknown; kind?: unknown; status?: Record<string, unknown> }
  try {
    printed = JSON.parse(text) as typeof printed
  } catch (cause) {
    throw fail('did not print JSON', cause)
  }
  if (exec.apiVersion !== undefined && printed.apiVersion !== undefined && printed.apiVersion !== exec.apiVersion) {
    throw fail(`answered in apiVersion ${JSON.stringify(printed.apiVersion)}, expected "${exec.apiVersion}"`)
  }
  const { token, clientCertificateData, clientKeyData, expirationTimestamp } = printed.status ?? {}
  const [cert, key] = [textOf(clientCertificateData), textOf(clientKeyData)]
  if ((cert === undefined) !== (key === undefined)) {
    throw fail('printed a certificate or a key without the other')
  }
  if (textOf(token) === undefined && cert === undefined) {
    throw fail('printed no token and no certificate')
  }
  const expires = typeof expirationTimestamp === 'string' ? Date.parse(expirationTimestamp) : Number.POSITIVE_INFINITY
  // Renewed a little before its end, so no request travels with a dead one.
  const lifeMs = Number.isNaN(expires) ? 0 : expires - (options.now ?? Date.now)() - 10_000
  return { token: textOf(token), cert, key, lifeMs }
}

function textOf(value: unknown): string | undefined {
  return typeof value === 'string' && value !== '' ? value : undefined
}
