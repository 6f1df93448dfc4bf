import type { Identity } from '../exchange.ts'
import { badRequest } from '../status.ts'
import type { Attributes } from './attributes.ts'
import type { Authorizer } from './authorizer.ts'

/** Headers with every value of each, names in lower case. */
export type HeaderValues = Readonly<Record<string, readonly string[] | undefined>>

const extraPrefix = 'impersonate-extra-'
const accountPrefix = 'system:serviceaccount:'

/** Whether a request asks to act as somebody else at all. */
export function asksImpersonation(headers: Readonly<Record<string, unknown>>): boolean {
  for (const name in headers) if (name.startsWith('impersonate-')) return true
  return false
}

/**
 * Whom `identity` asks to act as by `Impersonate-*` headers. The user, every group, the uid and every value of an extra
 * must each be allowed by the verb `impersonate`; throws 403 otherwise, 400 when the user is missing.
 */
export function impersonate(authorizer: Authorizer, identity: Identity, headers: HeaderValues): Identity {
  const wanted = readWanted(headers)
  if (wanted === undefined) return identity
  for (const asked of attributesOf(wanted)) authorizer.check(identity, asked)
  return complete(wanted)
}

interface Wanted {
  readonly user: string
  readonly uid: string
  readonly groups: readonly string[]
  readonly extra: Readonly<Record<string, string[]>>
}

function readWanted(headers: HeaderValues): Wanted | undefined {
  const user = headers['impersonate-user']?.[0] ?? ''
  const uid = headers['impersonate-uid']?.[0] ?? ''
  const groups = headers['impersonate-group'] ?? []
  const extra: Record<string, string[]> = {}
  for (const [name, values = []] of Object.entries(headers)) {
    if (name.startsWith(extraPrefix)) extra[unescapeKey(name.slice(extraPrefix.length))] = [...values]
  }
  if (user !== '') return { user, uid, groups, extra }
  // Going on as oneself would be the very thing the client asked not to do.
  if (uid === '' && groups.length === 0 && Object.keys(extra).length === 0) return undefined
  throw badRequest(`requested ${JSON.stringify({ uid, groups, extra })} without impersonating a user name`)
}

function attributesOf({ user, uid, groups, extra }: Wanted): Attributes[] {
  const asked = [userAttributes(user)]
  for (const group of groups) asked.push(attributes('', 'groups', group))
  const authentication = 'authentication.k8s.io'
  for (const [key, values] of Object.entries(extra)) {
    for (const value of values) asked.push({ ...attributes(authentication, 'userextras', value), subresource: key })
  }
  if (uid !== '') asked.push(attributes(authentication, 'uids', uid))
  return asked
}

/** A service account is impersonated as the object it is, in its namespace. */
function userAttributes(user: string): Attributes {
  const [namespace, name, ...rest] = user.startsWith(accountPrefix) ? user.slice(accountPrefix.length).split(':') : []
  if (namespace === undefined || namespace === '' || name === undefined || name === '' || rest.length > 0) {
    return attributes('', 'users', user)
  }
  return { ...attributes('', 'serviceaccounts', name), namespace }
}

function attributes(group: string, resource: string, name: string): Attributes {
  return { verb: 'impersonate', group, resource, subresource: '', namespace: '', name }
}

/** The groups that come with being who one is. */
function complete({ user, uid, groups, extra }: Wanted): Identity {
  const all = [...groups]
  const { namespace, resource } = userAttributes(user)
  if (all.length === 0 && resource === 'serviceaccounts') {
    all.push('system:serviceaccounts', `system:serviceaccounts:${namespace}`)
  }
  const status = user === 'system:anonymous' ? 'system:unauthenticated' : 'system:authenticated'
  if (!all.includes('system:authenticated') && !all.includes('system:unauthenticated')) all.push(status)
  return {
    user,
    groups: all,
    ...(uid === '' ? {} : { uid }),
    ...(Object.keys(extra).length === 0 ? {} : { extra }),
  }
}

function unescapeKey(key: string): string {
  try {
    return decodeURIComponent(key)
  } catch {
    return key
  }
}
