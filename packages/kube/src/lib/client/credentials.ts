import { createPrivateKey, X509Certificate } from 'node:crypto'
import { readFile } from 'node:fs/promises'

import { credentialsUnavailable, kubeconfigInvalid } from './errors.ts'
import { checkExecPlugin, runExecPlugin } from './exec-plugin.ts'
import type { Credentials } from './https-transport.ts'
import type { KubeconfigCluster, KubeconfigUser } from './kubeconfig.ts'
import { createPemSource } from './pem-source.ts'

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
  /** Whether a plugin may ask the user. Default: standard input is a terminal. */
  readonly isInteractive?: boolean | undefined
}

/**
 * A source of the user's credentials. Certificate files are read again when they are replaced, token files every minute, and
 * plugins run again when their credential expires. Throws FAIRLEAD_KUBE_KUBECONFIG for a user nobody can be.
 */
export function createCredentials(
  user: KubeconfigUser,
  options: CredentialsOptions,
): (ask: { readonly refresh: boolean }) => Promise<Credentials> {
  checkUser(user, options.name)
  const identify = createIdentity(user, options)
  const { tokenFile, token, exec, username } = user
  if (tokenFile !== undefined && tokenFile !== '') {
    return withAuthorization(identify, cached(options, readTokenAs(tokenFile, user, options)))
  }
  if (token !== undefined && token !== '') {
    return withAuthorization(identify, fixed({ authorization: `Bearer ${token}` }))
  }
  if (exec !== undefined) {
    return withAuthorization(
      identify,
      cached(options, async () => {
        const { token: given, cert, key, lifeMs } = await runExecPlugin(exec, options)
        const authorization = given === undefined ? undefined : `Bearer ${given}`
        return { proof: { authorization, cert, key }, lifeMs }
      }),
    )
  }
  if (username !== undefined && username !== '') {
    const basic = Buffer.from(`${username}:${user.password ?? ''}`).toString('base64')
    return withAuthorization(identify, fixed({ authorization: `Basic ${basic}` }))
  }
  return async () => identify()
}

function checkUser(user: KubeconfigUser, name: string): void {
  if (user['auth-provider'] !== undefined) {
    const { name: provider } = user['auth-provider'] as { name?: unknown }
    throw kubeconfigInvalid(
      name,
      `user "${name}" has the auth-provider "${String(provider)}", which Kubernetes 1.26 removed`,
      'Replace auth-provider by an exec plugin, such as gke-gcloud-auth-plugin, kubelogin or kubectl-oidc_login',
    )
  }
  if (user.exec !== undefined) {
    checkExecPlugin(user.exec, name)
  }
}

/** Certificate and impersonation; the same object for as long as they do not change. */
function createIdentity(user: KubeconfigUser, { name, now }: CredentialsOptions): () => Credentials {
  const headers = impersonation(user)
  const certOf = createPemSource(user['client-certificate-data'], user['client-certificate'], now)
  const keyOf = createPemSource(user['client-key-data'], user['client-key'], now)
  let current: Credentials = { headers, cert: certOf(), key: keyOf() }
  if ((current.cert === undefined) !== (current.key === undefined)) {
    const missing = current.cert === undefined ? 'client-certificate-data' : 'client-key-data'
    throw kubeconfigInvalid(name, `user "${name}" has no ${missing}`, 'Give client certificate and key together')
  }
  return () => {
    const [cert, key] = [certOf(), keyOf()]
    // Two files are not replaced at once: a certificate and the key of another would fail every connection.
    if ((cert !== current.cert || key !== current.key) && isPair(cert, key)) {
      current = { headers, cert, key }
    }
    return current
  }
}

function isPair(cert: string | undefined, key: string | undefined): boolean {
  try {
    return cert !== undefined && key !== undefined && new X509Certificate(cert).checkPrivateKey(createPrivateKey(key))
  } catch {
    return false
  }
}

/** What a request carries beside the identity of the files. */
interface Proof {
  readonly authorization?: string | undefined
  readonly cert?: string | undefined
  readonly key?: string | undefined
}

function fixed(proof: Proof): () => Promise<Proof> {
  return async () => proof
}

function withAuthorization(
  identify: () => Credentials,
  prove: (ask: { readonly refresh: boolean }) => Promise<Proof>,
): (ask: { readonly refresh: boolean }) => Promise<Credentials> {
  let last: { readonly identity: Credentials; readonly proof: Proof; readonly credentials: Credentials } | undefined
  return async (ask) => {
    const proof = await prove(ask)
    const identity = identify()
    if (last === undefined || last.proof !== proof || last.identity !== identity) {
      const { authorization, cert = identity.cert, key = identity.key } = proof
      const headers = { ...identity.headers, ...(authorization !== undefined && { authorization }) }
      last = { identity, proof, credentials: { headers, cert, key } }
    }
    return last.credentials
  }
}

/** As kubectl: what could be read last counts while the file is not there, at first the token of the kubeconfig. */
function readTokenAs(file: string, user: KubeconfigUser, { name }: CredentialsOptions): () => Promise<Granted> {
  let last = user.token === '' ? undefined : user.token
  return async () => {
    try {
      last = (await readFile(file, 'utf8')).trim()
    } catch (cause) {
      if (last === undefined) {
        const hint = 'Correct tokenFile in the kubeconfig'
        throw credentialsUnavailable(name, `token file "${file}" cannot be read`, hint, cause)
      }
    }
    return { proof: { authorization: `Bearer ${last}` }, lifeMs: tokenLifeMs }
  }
}

const tokenLifeMs = 60_000

interface Granted {
  readonly proof: Proof
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
): (ask: { readonly refresh: boolean }) => Promise<Proof> {
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
    return (await held.granted).proof
  }
}

function impersonation(user: KubeconfigUser): Record<string, string | readonly string[]> {
  const { as, 'as-uid': uid, 'as-groups': groups, 'as-user-extra': extra } = user
  const extras = Object.entries(extra ?? {}).map(([key, values]) => [
    `impersonate-extra-${encodeURIComponent(key.toLowerCase())}`,
    [...values],
  ])
  return {
    ...(as !== undefined && as !== '' && { 'impersonate-user': as }),
    ...(uid !== undefined && uid !== '' && { 'impersonate-uid': uid }),
    ...(groups !== undefined && groups.length > 0 && { 'impersonate-group': [...groups] }),
    ...Object.fromEntries(extras),
  }
}
