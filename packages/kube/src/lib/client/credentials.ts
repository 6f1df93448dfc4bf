import { execFile } from 'node:child_process'
import { readFileSync } from 'node:fs'
import { readFile } from 'node:fs/promises'

import { credentialsUnavailable, kubeconfigInvalid } from './errors.ts'
import type { Credentials } from './https-transport.ts'
import type { KubeconfigCluster, KubeconfigExec, KubeconfigUser } from './kubeconfig.ts'

export interface CredentialsOptions {
  /** Name of the user in the kubeconfig, for errors. */
  readonly name: string
  readonly cluster: KubeconfigCluster
  /** Environment of exec plugins. */
  readonly env: Readonly<Record<string, string | undefined>>
  /** Default `Date.now`. */
  readonly now?: (() => number) | undefined
  /** How long an exec plugin may run. Default 60,000. */
  readonly execDeadlineMs?: number | undefined
}

/** A source of the user's credentials; files of tokens are read again every minute, exec plugins run again when their credential expires. */
export function createCredentials(
  user: KubeconfigUser,
  options: CredentialsOptions,
): (ask: { readonly refresh: boolean }) => Promise<Credentials> {
  const fixed = { headers: impersonation(user), ...clientCertificate(user, options.name) }
  const bearer = (token: string): Credentials => ({
    ...fixed,
    headers: { ...fixed.headers, authorization: `Bearer ${token}` },
  })
  if (user.tokenFile !== undefined) {
    const { tokenFile } = user
    return cached(options, async () => ({
      credentials: bearer(await readToken(tokenFile, options.name)),
      lifeMs: 60_000,
    }))
  }
  if (user.token !== undefined && user.token !== '') {
    const credentials = bearer(user.token)
    return async () => credentials
  }
  if (user.exec !== undefined) {
    const { exec } = user
    return cached(options, async () => {
      const { token, cert, key, lifeMs } = await runExecPlugin(exec, options)
      const own = token === undefined ? fixed : bearer(token)
      return { credentials: { ...own, ...(cert !== undefined && { cert, key }) }, lifeMs }
    })
  }
  if (user.username !== undefined) {
    const basic = Buffer.from(`${user.username}:${user.password ?? ''}`).toString('base64')
    const credentials = { ...fixed, headers: { ...fixed.headers, authorization: `Basic ${basic}` } }
    return async () => credentials
  }
  return async () => fixed
}

interface Granted {
  readonly credentials: Credentials
  readonly lifeMs: number
}

interface Held {
  readonly granted: Promise<Granted>
  until: number
}

/** Keeps what `obtain` gave until its end of life; callers at the same time share one run. */
function cached(
  { now = Date.now }: CredentialsOptions,
  obtain: () => Promise<Granted>,
): (ask: { readonly refresh: boolean }) => Promise<Credentials> {
  let held: Held | undefined

  async function watchLife(mine: Held): Promise<void> {
    try {
      const { lifeMs } = await mine.granted
      mine.until = now() + lifeMs
    } catch {
      // Whoever waits for it hears of the failure; the next one tries anew.
      held = held === mine ? undefined : held
    }
  }

  return async ({ refresh }) => {
    if (held === undefined || refresh || now() >= held.until) {
      const mine: Held = { granted: obtain(), until: Number.POSITIVE_INFINITY }
      held = mine
      void watchLife(mine)
    }
    return (await held.granted).credentials
  }
}

function impersonation(user: KubeconfigUser): Record<string, string> {
  return {
    ...(user.as !== undefined && { 'impersonate-user': user.as }),
    ...(user['as-groups']?.[0] !== undefined && { 'impersonate-group': user['as-groups'][0] }),
  }
}

function clientCertificate(
  user: KubeconfigUser,
  name: string,
): { cert?: string | undefined; key?: string | undefined } {
  const cert = readPem(user['client-certificate-data'], user['client-certificate'])
  const key = readPem(user['client-key-data'], user['client-key'])
  if ((cert === undefined) !== (key === undefined)) {
    const missing = cert === undefined ? 'client-certificate-data' : 'client-key-data'
    throw kubeconfigInvalid(name, `user "${name}" has no ${missing}`, 'Give client certificate and key together')
  }
  return { cert, key }
}

/** The PEM given inline (base64) or by file name; inline wins, as in kubectl. */
export function readPem(data: string | undefined, file: string | undefined): string | undefined {
  if (data !== undefined && data !== '') {
    return Buffer.from(data, 'base64').toString('utf8')
  }
  if (file === undefined || file === '') {
    return undefined
  }
  try {
    return readFileSync(file, 'utf8')
  } catch (cause) {
    throw kubeconfigInvalid(file, 'file cannot be read', 'Correct the file name in the kubeconfig', cause)
  }
}

async function readToken(file: string, user: string): Promise<string> {
  try {
    return (await readFile(file, 'utf8')).trim()
  } catch (cause) {
    throw credentialsUnavailable(
      user,
      `token file "${file}" cannot be read`,
      'Correct tokenFile in the kubeconfig',
      cause,
    )
  }
}

interface ExecCredential {
  readonly token: string | undefined
  readonly cert: string | undefined
  readonly key: string | undefined
  readonly lifeMs: number
}

/** Runs a credential plugin: KUBERNETES_EXEC_INFO in, an ExecCredential on stdout. */
async function runExecPlugin(exec: KubeconfigExec, options: CredentialsOptions): Promise<ExecCredential> {
  const { name, execDeadlineMs = 60_000 } = options
  const apiVersion = exec.apiVersion ?? 'client.authentication.k8s.io/v1'
  const info = {
    apiVersion,
    kind: 'ExecCredential',
    spec: { interactive: false, ...execCluster(exec, options.cluster) },
  }
  const extra = Object.fromEntries((exec.env ?? []).map((entry) => [entry.name, entry.value]))
  const env = { ...options.env, ...extra, KUBERNETES_EXEC_INFO: JSON.stringify(info) }
  const { promise, resolve, reject } = Promise.withResolvers<string>()
  const child = execFile(
    exec.command,
    [...(exec.args ?? [])],
    { env, timeout: execDeadlineMs, maxBuffer: 1024 * 1024, killSignal: 'SIGKILL' },
    (error, stdout, stderr) => {
      if (error === null) {
        resolve(stdout)
      } else {
        const state = describeFailure(error, stderr, execDeadlineMs)
        const hint = exec.installHint ?? 'Run the plugin by hand to see what it needs, then try again'
        reject(credentialsUnavailable(name, `plugin "${exec.command}" ${state}`, hint.trim(), error))
      }
    },
  )
  child.stdin?.end()
  return parseExecCredential(await promise, exec, options)
}

function describeFailure(
  error: Error & { code?: unknown; killed?: boolean },
  stderr: string,
  deadlineMs: number,
): string {
  if (error.code === 'ENOENT') {
    return 'is not installed'
  }
  if (error.killed === true) {
    return `gave no answer within ${deadlineMs} ms`
  }
  const said = stderr.trim().slice(-400)
  return `failed with exit code ${String(error.code)}${said === '' ? '' : `: ${said}`}`
}

function execCluster(exec: KubeconfigExec, cluster: KubeconfigCluster): object {
  if (exec.provideClusterInfo !== true) {
    return {}
  }
  const data = cluster['certificate-authority-data']
  const pem = data ?? toBase64(readPem(undefined, cluster['certificate-authority']))
  return { cluster: { server: cluster.server, 'certificate-authority-data': pem } }
}

function toBase64(text: string | undefined): string | undefined {
  return text === undefined ? undefined : Buffer.from(text).toString('base64')
}

function parseExecCredential(text: string, exec: KubeconfigExec, options: CredentialsOptions): ExecCredential {
  const hint = 'Check the version of the plugin against the apiVersion in the kubeconfig'
  let status: Record<string, unknown> | undefined
  try {
    status = (JSON.parse(text) as { status?: Record<string, unknown> }).status
  } catch (cause) {
    throw credentialsUnavailable(options.name, `plugin "${exec.command}" did not print JSON`, hint, cause)
  }
  const { token, clientCertificateData, clientKeyData, expirationTimestamp } = status ?? {}
  if (typeof token !== 'string' && typeof clientCertificateData !== 'string') {
    throw credentialsUnavailable(options.name, `plugin "${exec.command}" printed no token and no certificate`, hint)
  }
  const expires = typeof expirationTimestamp === 'string' ? Date.parse(expirationTimestamp) : Number.POSITIVE_INFINITY
  return {
    token: typeof token === 'string' ? token : undefined,
    cert: typeof clientCertificateData === 'string' ? clientCertificateData : undefined,
    key: typeof clientKeyData === 'string' ? clientKeyData : undefined,
    // Renewed a little before its end, so no request travels with a dead one.
    lifeMs: Number.isNaN(expires) ? 0 : expires - (options.now ?? Date.now)() - 10_000,
  }
}
