import { readFileSync } from 'node:fs'
import { readFile } from 'node:fs/promises'
import { homedir } from 'node:os'
import { join } from 'node:path'
import type { Environment } from '../lifecycle/resource.ts'
import { createCaller } from './call.ts'
import type { Answer, Caller, CallerOptions } from './call.ts'
import { ProviderFault, quoteProvider } from './fault.ts'
import { isRecord, parseJson, textAt } from './json.ts'
import { readAccountFile } from './kubernetes.ts'

export interface VaultRequest {
  readonly method?: 'GET' | 'PUT' | undefined
  /** Below `/v1/`, encoded. */
  readonly path: string
  readonly body?: unknown
  readonly namespace?: string | undefined
}

export interface VaultSession {
  /** Sends with a valid token. A 403 with a token that is not new leads to one new login. */
  send(request: VaultRequest, signal: AbortSignal): Promise<{ readonly answer: Answer; readonly login: number }>
  /** Counts the logins; a lease ends with the token it was made by. */
  readonly login: number
  /** Called after a new login. */
  onLogin(listener: () => void): () => void
  close(signal: AbortSignal): Promise<void>
}

interface Login {
  readonly token: string
  /** 0: it does not expire, or somebody else sees to it. */
  readonly ttlMs: number
  readonly isRenewable: boolean
  /** Ours to revoke: nobody else has it. */
  readonly isOwn: boolean
}

interface Session {
  readonly login: Login
  readonly number: number
}

type Request = (given: VaultRequest, token: string | undefined, signal: AbortSignal) => Promise<Answer>

/**
 * A token of Vault (or OpenBao) that stays valid: renewed at two thirds of its time, replaced by a new login where that fails. Where it
 * comes from: VAULT_TOKEN; VAULT_TOKEN_FILE; VAULT_ROLE_ID with VAULT_SECRET_ID (AppRole); VAULT_ROLE (Kubernetes service account);
 * `~/.vault-token`.
 */
export function createVaultSession(env: Environment, timeoutMs: number): VaultSession {
  let caller: Caller | undefined
  let current: Session | undefined
  let loggingIn: Promise<Session> | undefined
  let timer: NodeJS.Timeout | undefined
  const listeners = new Set<() => void>()
  const closed = new AbortController()

  const request: Request = async (given, token, signal) => {
    caller ??= createCaller({ timeoutMs, env, tls: readTls(env) })
    const namespace = given.namespace ?? env['VAULT_NAMESPACE']
    const headers = {
      'x-vault-request': 'true',
      ...(token === undefined ? {} : { 'x-vault-token': token }),
      ...(namespace ? { 'x-vault-namespace': namespace } : {}),
      ...(given.body === undefined ? {} : { 'content-type': 'application/json' }),
    }
    const body = given.body === undefined ? undefined : JSON.stringify(given.body)
    const url = new URL(`/v1/${given.path}`, findAddress(env))
    return await caller.call({ method: given.method, url, headers, body, signal })
  }
  const later = (work: () => Promise<unknown>, delayMs: number): void => {
    clearTimeout(timer)
    if (closed.signal.aborted) return
    // A timer cannot be longer than 2^31-1 ms, which 25 days are below.
    timer = setTimeout(() => void work().catch(() => {}), Math.min(delayMs, 2 ** 31 - 1)).unref()
  }
  const planRenewal = (session: Session, ttlMs: number): void => {
    if (ttlMs > 0) later(() => renew(session), (ttlMs * 2) / 3)
  }
  const renew = async (session: Session): Promise<void> => {
    const { token, ttlMs, isRenewable, isOwn } = session.login
    try {
      if (isRenewable) {
        const answer = await request({ method: 'PUT', path: 'auth/token/renew-self', body: {} }, token, closed.signal)
        const renewed = answer.status === 200 ? toLogin(answer, isOwn) : undefined
        // Near the end of its longest life a token is renewed for less and less: then a new one is due.
        if (renewed && renewed.ttlMs > ttlMs / 3) return planRenewal(session, renewed.ttlMs)
      }
      if (isOwn) await logIn(closed.signal)
    } catch {
      // The token serves until it expires. Whoever reads then gets a 403, logs in again and hears why that fails.
      later(() => renew(session), Math.max(1000, ttlMs / 12))
    }
  }
  const logIn = async (signal: AbortSignal): Promise<Session> => {
    loggingIn ??= findLogin(env, request, signal)
      .then((login) => {
        const previous = current
        if (previous?.login.token === login.token) return previous
        current = { login, number: (previous?.number ?? 0) + 1 }
        planRenewal(current, login.ttlMs)
        if (previous) for (const listener of listeners) listener()
        return current
      })
      .finally(() => (loggingIn = undefined))
    return await loggingIn
  }
  /** A 403 is also what a valid token gets where it may not read: then another login would not help. */
  const isRefused = async ({ login }: Session, signal: AbortSignal): Promise<boolean> =>
    (await request({ path: 'auth/token/lookup-self' }, login.token, signal)).status === 403

  return {
    get login() {
      return current?.number ?? 0
    },
    async send(given, signal) {
      const known = current
      const session = known ?? (await logIn(signal))
      const answer = await request(given, session.login.token, signal)
      if (answer.status !== 403 || known === undefined || !(await isRefused(session, signal)))
        return { answer, login: session.number }
      const next = current === session ? await logIn(signal) : (current ?? session)
      if (next === session) return { answer, login: session.number }
      return { answer: await request(given, next.login.token, signal), login: next.number }
    },
    onLogin(listener) {
      listeners.add(listener)
      return () => void listeners.delete(listener)
    },
    async close(signal) {
      closed.abort()
      clearTimeout(timer)
      // With it go the leases it made, such as the database users of this process.
      if (current?.login.isOwn) {
        const revoke = { method: 'PUT', path: 'auth/token/revoke-self', body: {} } as const
        await request(revoke, current.login.token, signal).catch(() => {})
      }
      caller?.close()
    },
  }
}

async function findLogin(env: Environment, request: Request, signal: AbortSignal): Promise<Login> {
  if (env['VAULT_TOKEN']) return await toStaticLogin(env['VAULT_TOKEN'], request, signal)
  if (env['VAULT_TOKEN_FILE']) return await fromFile(env['VAULT_TOKEN_FILE'])
  if (env['VAULT_ROLE_ID']) {
    const file = env['VAULT_SECRET_ID_FILE']
    const secretId = file ? await readTextFile(file, 'VAULT_SECRET_ID_FILE') : env['VAULT_SECRET_ID']
    const body = { role_id: env['VAULT_ROLE_ID'], ...(secretId ? { secret_id: secretId } : {}) }
    return await logInBy(env['VAULT_AUTH_MOUNT'] || 'approle', body, request, signal)
  }
  if (env['VAULT_ROLE']) {
    const file = env['VAULT_JWT_FILE']
    const jwt = file ? await readTextFile(file, 'VAULT_JWT_FILE') : (await readAccountFile(env, 'token')).trim()
    return await logInBy(env['VAULT_AUTH_MOUNT'] || 'kubernetes', { role: env['VAULT_ROLE'], jwt }, request, signal)
  }
  const file = join(env['HOME'] ?? homedir(), '.vault-token')
  try {
    return await fromFile(file)
  } catch {
    throw new ProviderFault(
      'denied',
      'there is no way to log in: neither VAULT_TOKEN, VAULT_TOKEN_FILE, VAULT_ROLE_ID, VAULT_ROLE nor ~/.vault-token',
      'In a pod, set VAULT_ROLE to a role of the Kubernetes auth method that is bound to its service account',
    )
  }
}

/** The file of an agent, which renews the token and writes a new one when it must. */
async function fromFile(path: string): Promise<Login> {
  return { token: await readTextFile(path, 'VAULT_TOKEN_FILE'), ttlMs: 0, isRenewable: false, isOwn: false }
}

async function toStaticLogin(token: string, request: Request, signal: AbortSignal): Promise<Login> {
  const answer = await request({ path: 'auth/token/lookup-self' }, token, signal)
  const data = parseJson(answer.body)?.['data']
  const { ttl, renewable } = isRecord(data) ? data : {}
  const isRenewable = renewable === true && typeof ttl === 'number' && ttl > 0
  return { token, ttlMs: isRenewable ? ttl * 1000 : 0, isRenewable, isOwn: false }
}

async function logInBy(
  mount: string,
  body: Readonly<Record<string, string>>,
  request: Request,
  signal: AbortSignal,
): Promise<Login> {
  const path = `auth/${mount.split('/').map(encodeURIComponent).join('/')}/login`
  const answer = await request({ method: 'PUT', path, body }, undefined, signal)
  const login = answer.status === 200 ? toLogin(answer, true) : undefined
  if (login) return login
  const said = vaultErrors(answer)
  throw new ProviderFault(
    answer.status >= 500 || answer.status === 429 ? 'unavailable' : 'denied',
    `the login at auth/${mount} was refused: ${said}`,
    'Check the role: its name, the service accounts or secret ids bound to it, its audience, and VAULT_AUTH_MOUNT',
  )
}

function toLogin(answer: Answer, isOwn: boolean): Login | undefined {
  const auth = parseJson(answer.body)?.['auth']
  const token = textAt(auth, 'client_token')
  if (!isRecord(auth) || !token) return undefined
  const seconds = Number(auth['lease_duration'])
  return { token, ttlMs: seconds > 0 ? seconds * 1000 : 0, isRenewable: auth['renewable'] === true, isOwn }
}

/** `403: permission denied`, without what was sent. */
export function vaultErrors(answer: Answer): string {
  const errors = parseJson(answer.body)?.['errors']
  const lines = Array.isArray(errors) ? errors.map(String).join('; ').split('\n') : []
  // "1 error occurred:" stands before the error itself.
  const text = lines.map((line) => line.replace(/^[\s*]+/, '').replace(/^\d+ errors? occurred:$/, '')).filter(Boolean)
  const said = quoteProvider(text[0], answer)
  return `${answer.status}${said ? `: ${said}` : ''}`
}

function findAddress(env: Environment): URL {
  const text = env['VAULT_ADDR'] || env['BAO_ADDR'] || 'https://127.0.0.1:8200'
  const url = URL.parse(text)
  if (url && /^https?:$/.test(url.protocol)) return url
  throw new ProviderFault(
    'denied',
    'VAULT_ADDR is not an http or https URL',
    'Set VAULT_ADDR, such as https://vault:8200',
  )
}

/** The variables of the Vault command line. VAULT_SKIP_VERIFY is not among them. */
function readTls(env: Environment): CallerOptions['tls'] {
  const { VAULT_CACERT: ca, VAULT_CACERT_BYTES: caText, VAULT_CLIENT_CERT: cert, VAULT_CLIENT_KEY: key } = env
  const read = (path: string, variable: string): Buffer => {
    try {
      return readFileSync(path)
    } catch {
      throw new ProviderFault('denied', `the file that ${variable} names cannot be read`, `Correct ${variable}`)
    }
  }
  return {
    ...(caText ? { ca: caText } : ca ? { ca: read(ca, 'VAULT_CACERT') } : {}),
    ...(cert && key ? { cert: read(cert, 'VAULT_CLIENT_CERT'), key: read(key, 'VAULT_CLIENT_KEY') } : {}),
    ...(env['VAULT_TLS_SERVER_NAME'] ? { servername: env['VAULT_TLS_SERVER_NAME'] } : {}),
  }
}

async function readTextFile(path: string, variable: string): Promise<string> {
  try {
    const text = (await readFile(path, 'utf8')).trim()
    if (text) return text
  } catch {
    // Told below, as is a file without content.
  }
  const state = `the file that ${variable} names, ${JSON.stringify(path)}, cannot be read or is empty`
  throw new ProviderFault('denied', state, `Correct ${variable}, or see that the agent writes the file`)
}
