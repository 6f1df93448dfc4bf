import type { Answer } from './call.ts'
import type { DriverOptions, ReadOptions, SecretDriver, SecretReading } from './driver.ts'
import { ProviderFault } from './fault.ts'
import { isRecord, parseJson, textAt } from './json.ts'
import type { SecretReference } from './reference.ts'
import { createVaultSession, vaultErrors } from './vault-login.ts'
import type { VaultSession } from './vault-login.ts'

/**
 * Vault and OpenBao: `vault://secret/orders/db?version=3#password`. Key-value stores of both versions, and any other engine that is read, such
 * as database credentials: their lease is renewed at two thirds, and when it cannot be any more, new ones are read while the old still work.
 */
export function createVaultDriver({ env, timeoutMs, now }: DriverOptions): SecretDriver {
  const session = createVaultSession(env, timeoutMs)
  const mounts = new Map<string, Promise<Mount>>()

  const findMount = async (reference: SecretReference, signal: AbortSignal): Promise<Mount> => {
    const { name, options } = reference
    if (options['kv'] !== undefined) return toMount(`${name.split('/')[0]}/`, options['kv'])
    const key = `${options['namespace'] ?? ''} ${name}`
    let found = mounts.get(key)
    if (found === undefined) {
      found = lookUpMount(session, reference, signal)
      // Only what was found is kept.
      found.catch(() => mounts.delete(key))
      mounts.set(key, found)
    }
    return await found
  }
  const readNew = async (reference: SecretReference, signal: AbortSignal): Promise<SecretReading> => {
    const mount = await findMount(reference, signal)
    const { version, namespace } = reference.options
    const path =
      toPath(reference.name, mount) + (version === undefined ? '' : `?version=${encodeURIComponent(version)}`)
    const { answer, login } = await session.send({ path, namespace }, signal)
    if (answer.status !== 200) throw toFault(answer, reference, mount)
    return toReading(answer, mount, { login, namespace, now: now() })
  }
  const renewLease = async (
    previous: SecretReading,
    lease: Lease,
    signal: AbortSignal,
  ): Promise<SecretReading | undefined> => {
    const body = { lease_id: lease.id, increment: Math.round(lease.durationMs / 1000) }
    const request = { method: 'PUT', path: 'sys/leases/renew', body, namespace: lease.namespace } as const
    const { answer } = await session.send(request, signal)
    if (answer.status !== 200) {
      if (answer.status === 429 || answer.status >= 500)
        throw new ProviderFault('unavailable', vaultErrors(answer), 'Look at Vault')
      return undefined
    }
    const seconds = Number(parseJson(answer.body)?.['lease_duration'])
    // Near the end of its longest life a lease is renewed for less and less: then a new one is due.
    if (!(seconds * 1000 > lease.durationMs / 3)) return undefined
    const renewed = lease.until(now() + seconds * 1000)
    return { ...previous, refreshMs: (seconds * 2000) / 3, expiresMs: seconds * 1000, state: renewed }
  }

  return {
    provider: 'Vault',
    async read(reference, { signal, previous }: ReadOptions) {
      const lease = previous?.state
      const isRenewed =
        lease instanceof Lease && lease.isRenewable && lease.login === session.login && lease.expiresAt > now()
      return (
        (isRenewed && previous && (await renewLease(previous, lease, signal))) || (await readNew(reference, signal))
      )
    },
    watch: (_reference, changed) => session.onLogin(changed),
    async release({ state }, signal) {
      if (!(state instanceof Lease) || state.expiresAt < now()) return
      const body = { lease_id: state.id }
      await session.send({ method: 'PUT', path: 'sys/leases/revoke', body, namespace: state.namespace }, signal)
    },
    close: (signal) => session.close(signal),
  }
}

/** Where an engine is mounted, and how it is read. */
interface Mount {
  /** With a slash at its end. */
  readonly path: string
  readonly kind: 'kv1' | 'kv2' | 'other'
}

/** Asks which engine serves a path, as the Vault command line does: whoever may read the path may ask. */
async function lookUpMount(
  session: VaultSession,
  { name, options }: SecretReference,
  signal: AbortSignal,
): Promise<Mount> {
  const request = { path: `sys/internal/ui/mounts/${encodePath(name)}`, namespace: options['namespace'] }
  const { answer } = await session.send(request, signal)
  const data = parseJson(answer.body)?.['data']
  const path = textAt(data, 'path')
  if (answer.status === 200 && path !== undefined) {
    const type = textAt(data, 'type')
    return toMount(path, type === 'kv' || type === 'generic' ? (textAt(data, 'options', 'version') ?? '1') : 'none')
  }
  const state = `it does not tell which engine serves this path (${vaultErrors(answer)})`
  if (answer.status === 403 || answer.status === 404) {
    const hint = `Allow "read" on this path to the role; where the policy is right, name the engine with ?kv=1, ?kv=2 or ?kv=none`
    throw new ProviderFault('denied', state, hint)
  }
  throw new ProviderFault('unavailable', state, 'Check that Vault is unsealed and active')
}

function toMount(path: string, version: string): Mount {
  return { path, kind: version === '2' ? 'kv2' : version === '1' ? 'kv1' : 'other' }
}

function toPath(name: string, { path, kind }: Mount): string {
  const below = name.startsWith(path) ? name.slice(path.length) : name
  if (kind !== 'kv2') return encodePath(name)
  // A path that was copied from the API has the "data" in it already.
  return encodePath(`${path}data/${below.replace(/^data\//, '')}`)
}

function encodePath(path: string): string {
  return path.split('/').map(encodeURIComponent).join('/')
}

class Lease {
  readonly id: string
  readonly durationMs: number
  readonly expiresAt: number
  readonly isRenewable: boolean
  /** Of the session: a lease ends with the token that made it. */
  readonly login: number
  readonly namespace: string | undefined

  constructor(
    id: string,
    durationMs: number,
    expiresAt: number,
    isRenewable: boolean,
    login: number,
    namespace?: string,
  ) {
    this.id = id
    this.durationMs = durationMs
    this.expiresAt = expiresAt
    this.isRenewable = isRenewable
    this.login = login
    this.namespace = namespace
  }

  /** The same lease, renewed. */
  until(expiresAt: number): Lease {
    return new Lease(this.id, this.durationMs, expiresAt, this.isRenewable, this.login, this.namespace)
  }
}

function toReading(
  answer: Answer,
  { kind }: Mount,
  made: { readonly login: number; readonly namespace: string | undefined; readonly now: number },
): SecretReading {
  const json = parseJson(answer.body)
  const outer = json?.['data']
  const data = kind === 'kv2' && isRecord(outer) ? outer['data'] : outer
  if (!isRecord(data))
    throw new ProviderFault('unavailable', 'its answer has no data', 'Check what answers at VAULT_ADDR')
  if (kind === 'kv2') {
    const metadata = isRecord(outer) && isRecord(outer['metadata']) ? outer['metadata'] : {}
    const version = metadata['version']
    return { value: data, version: typeof version === 'number' ? String(version) : undefined }
  }
  const id = textAt(json, 'lease_id')
  const durationMs = Number(json?.['lease_duration']) * 1000
  if (!id || !(durationMs > 0)) return { value: data, version: undefined }
  const lease = new Lease(
    id,
    durationMs,
    made.now + durationMs,
    json?.['renewable'] === true,
    made.login,
    made.namespace,
  )
  // The id is a handle to revoke the lease by, so only its end is shown.
  return { value: data, version: id.slice(-8), refreshMs: (durationMs * 2) / 3, expiresMs: durationMs, state: lease }
}

function toFault(answer: Answer, { name }: SecretReference, mount: Mount): ProviderFault {
  const said = vaultErrors(answer)
  if (answer.status === 404)
    return new ProviderFault('absent', `${said}: nothing there, or deleted`, 'Check path and version of the reference')
  if (answer.status === 403) {
    const hint = `Give the role a policy with: path "${decodeURIComponent(toPath(name, mount))}" { capabilities = ["read"] }`
    return new ProviderFault('denied', said, hint)
  }
  if (answer.status === 400) return new ProviderFault('absent', said, 'Check path and engine of the reference')
  return new ProviderFault('unavailable', said, 'Check that Vault is unsealed and active')
}
