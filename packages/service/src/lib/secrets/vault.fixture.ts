// Vault as far as secrets need it; what it answers was compared with OpenBao by the tests that run against a real one.
import type { Answerer, FakeAnswer, FakeRequest } from './fake.fixture.ts'

export interface FakeVault {
  readonly answer: Answerer
  readonly tokens: Map<string, { readonly isRoot: boolean }>
  /** Whether tokens can be renewed. */
  isRenewable: boolean
  /** What a renewal of a lease gives. */
  leaseSeconds: number
  renewals: number
  readonly revoked: string[]
}

const denied: FakeAnswer = { status: 403, body: { errors: ['permission denied'] } }

export function createFakeVault(): FakeVault {
  let count = 0
  const leases = new Map<string, string>()
  const logIn = (): FakeAnswer => {
    const token = `planted-login-${(count += 1)}`
    vault.tokens.set(token, { isRoot: false })
    return { body: { auth: { client_token: token, lease_duration: 600, renewable: true, policies: ['orders'] } } }
  }
  const handle = (path: string, { body, headers, url }: FakeRequest): FakeAnswer => {
    const input = (body === '' ? {} : JSON.parse(body)) as Record<string, string>
    if (path === 'auth/kubernetes/login') {
      const isGood = input['role'] === 'orders' && input['jwt'] === 'planted-service-account'
      return isGood ? logIn() : { status: 403, body: { errors: [`service account ${input['jwt']} not bound`] } }
    }
    if (path === 'auth/approle/login') {
      const isGood = input['role_id'] === 'orders-id' && input['secret_id'] === 'planted-secret-id'
      return isGood ? logIn() : { status: 400, body: { errors: ['invalid role or secret ID'] } }
    }
    const token = headers['x-vault-token'] ?? ''
    if (!vault.tokens.has(token)) return denied
    return answerToken(path, token) ?? answerLease(path, token, input) ?? answerRead(path, url)
  }
  const answerToken = (path: string, token: string): FakeAnswer | undefined => {
    if (path === 'auth/token/lookup-self')
      return { body: { data: { ttl: vault.tokens.get(token)?.isRoot ? 0 : 600, renewable: true } } }
    if (path === 'auth/token/revoke-self') {
      vault.tokens.delete(token)
      return { status: 204, body: '' }
    }
    if (path !== 'auth/token/renew-self') return undefined
    if (!vault.isRenewable) return { status: 400, body: { errors: ['lease is not renewable'] } }
    return { body: { auth: { client_token: token, lease_duration: 600, renewable: true } } }
  }
  const answerLease = (path: string, token: string, input: Record<string, string>): FakeAnswer | undefined => {
    const id = input['lease_id'] ?? ''
    if (path === 'database/creds/orders') {
      const lease = `database/creds/orders/lease-${leases.size + 1}`
      leases.set(lease, token)
      const data = { username: `user-${leases.size}`, password: `planted-${leases.size}` }
      return { body: { lease_id: lease, lease_duration: 3600, renewable: true, data } }
    }
    if (path === 'sys/leases/revoke') {
      vault.revoked.push(id)
      return { status: 204, body: '' }
    }
    if (path !== 'sys/leases/renew') return undefined
    // A lease ends with the token it was made by.
    if (!vault.tokens.has(leases.get(id) ?? '')) return { status: 400, body: { errors: ['lease not found'] } }
    vault.renewals += 1
    return { body: { lease_id: id, lease_duration: vault.leaseSeconds, renewable: true } }
  }
  const answerRead = (path: string, url: URL): FakeAnswer => {
    const [, mount] = /^sys\/internal\/ui\/mounts\/(secret|legacy|database)\//.exec(path) ?? []
    if (mount !== undefined) {
      const options = mount === 'secret' ? { version: '2' } : null
      return { body: { data: { path: `${mount}/`, type: mount === 'database' ? 'database' : 'kv', options } } }
    }
    if (path === 'secret/data/forbidden' || path.startsWith('sys/')) return denied
    if (path === 'legacy/orders')
      return { body: { data: { password: 'legacy' }, lease_id: '', lease_duration: 2764800, renewable: false } }
    if (path !== 'secret/data/orders/db') return { status: 404, body: { errors: [] } }
    const version = Number(url.searchParams.get('version') ?? 2)
    const metadata = { version, deletion_time: '', destroyed: false }
    if (version > 2)
      return {
        status: 404,
        body: { data: { data: null, metadata: { ...metadata, deletion_time: '2026-01-01T00:00:00Z' } } },
      }
    return {
      body: {
        data: { data: { password: version === 1 ? 'old' : 's3cret ü' }, metadata },
        lease_id: '',
        lease_duration: 0,
      },
    }
  }
  const vault: FakeVault = {
    tokens: new Map([['planted-root', { isRoot: true }]]),
    isRenewable: true,
    leaseSeconds: 3600,
    renewals: 0,
    revoked: [],
    answer: (request) => handle(decodeURIComponent(request.url.pathname.replace(/^\/v1\//, '')), request),
  }
  return vault
}
