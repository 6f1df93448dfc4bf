import type { Identity } from '../exchange.ts'
import { dnsSubdomain } from '../kinds/names.ts'
import { badRequest } from '../status.ts'
import type { Attributes } from './attributes.ts'
import { accessForbidden } from './authorizer.ts'
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

/** What a request asks for, worked out when somebody has to know. */
export type Asked = () => Attributes

/**
 * Lets clients act as somebody else (`Impersonate-*` headers). Roles allow it either for whatever that user may do (verb
 * `impersonate` on the user, every group, the uid and every value of an extra), or constrained (KEP-5284): by the verb
 * `impersonate-on:MODE:VERB` on what is asked for, together with `impersonate:MODE` on who is asked for.
 */
export class Impersonation {
  readonly #authorizer: Authorizer
  /** The mode that was last good for a user is tried first. */
  readonly #last = new Map<string, Mode>()

  constructor(authorizer: Authorizer) {
    this.#authorizer = authorizer
  }

  /** Whom `identity` acts as; throws 403 when no mode allows it, with what the first one lacks, and 400 without a user. */
  impersonate(identity: Identity, headers: HeaderValues, asked: Asked): Identity {
    const wanted = readWanted(headers)
    if (wanted === undefined) return identity
    const last = this.#last.get(identity.user)
    const order = last === undefined ? modes : [last, ...modes.filter((mode) => mode !== last)]
    let refusal: unknown
    for (const mode of order) {
      if (mode.applies?.(wanted, identity) === false) continue
      try {
        this.#check(mode, identity, wanted, asked)
      } catch (error) {
        refusal ??= error
        continue
      }
      this.#remember(identity.user, mode)
      return complete(wanted, mode)
    }
    throw refusal
  }

  #check(mode: Mode, identity: Identity, wanted: Wanted, asked: Asked): void {
    const { name } = mode
    if (name !== undefined) {
      const about = asked()
      this.#authorizer.check(identity, { ...about, verb: `impersonate-on:${name}:${about.verb}` })
    }
    for (const each of attributesOf(wanted, mode)) {
      const why = name === undefined ? undefined : neverAllowed(each)
      if (why !== undefined) throw accessForbidden(identity, each, why)
      this.#authorizer.check(identity, each)
    }
  }

  #remember(user: string, mode: Mode): void {
    if (this.#last.size >= rememberedUsers) this.#last.clear()
    this.#last.set(user, mode)
  }
}

const rememberedUsers = 10_000
const authentication = 'authentication.k8s.io'

interface Mode {
  /** Undefined for the one without constraints. */
  readonly name?: string
  readonly applies?: (wanted: Wanted, identity: Identity) => boolean
}

const modes: readonly Mode[] = [
  {
    name: 'associated-node',
    applies: (wanted, identity) => isNameOnly(wanted) && isOnNode(identity, nodeNameOf(wanted.user)),
  },
  { name: 'arbitrary-node', applies: (wanted) => isNameOnly(wanted) && nodeNameOf(wanted.user) !== undefined },
  { name: 'serviceaccount', applies: (wanted) => isNameOnly(wanted) && accountOf(wanted.user) !== undefined },
  {
    name: 'user-info',
    applies: ({ user }) => nodeNameOf(user) === undefined && accountOf(user) === undefined,
  },
  {},
]

function isNameOnly({ uid, groups, extra }: Wanted): boolean {
  return uid === '' && groups.length === 0 && Object.keys(extra).length === 0
}

/** The node of `system:node:NAME`. */
function nodeNameOf(user: string): string | undefined {
  const prefix = 'system:node:'
  if (!user.startsWith(prefix)) return undefined
  const name = user.slice(prefix.length)
  return dnsSubdomain('', name).length === 0 ? name : undefined
}

/** A service account whose token is of a pod on that node. */
export function isOnNode({ user, extra }: Identity, node: string | undefined): boolean {
  const names = extra?.['authentication.kubernetes.io/node-name'] ?? []
  return node !== undefined && accountOf(user) !== undefined && names.length === 1 && names[0] === node
}

/** What no role can allow of a constrained impersonation. */
function neverAllowed({ resource, name, subresource }: Attributes): string | undefined {
  if (resource === 'groups' && name === '') return 'impersonating the empty string group is not allowed'
  if (resource === 'groups' && name === 'system:masters') return 'impersonating the system:masters group is not allowed'
  if (resource !== 'userextras') return undefined
  if (subresource === '') return 'impersonating the empty string key in extra is not allowed'
  if (!isPrefixedPath(subresource)) {
    const why = `extra.key: Invalid value: ${JSON.stringify(subresource)}: must be a domain-prefixed path (such as "acme.io/foo")`
    return `impersonating an invalid key in extra is not allowed: ${why}`
  }
  return name === '' ? 'impersonating the empty string value in extra is not allowed' : undefined
}

function isPrefixedPath(key: string): boolean {
  const at = key.indexOf('/')
  return (
    at > 0 && dnsSubdomain('', key.slice(0, at)).length === 0 && /^[\w\-.~!$&'()*+,;=:@%/]+$/.test(key.slice(at + 1))
  )
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

function attributesOf({ user, uid, groups, extra }: Wanted, mode: Mode): Attributes[] {
  const verb = mode.name === undefined ? 'impersonate' : `impersonate:${mode.name}`
  const about = (group: string, resource: string, name: string): Attributes => {
    return { verb, group, resource, subresource: '', namespace: '', name }
  }
  const group = mode.name === undefined ? '' : authentication
  const asked = [userAttributes(user, mode, (resource, name) => about(group, resource, name))]
  if (uid !== '') asked.push(about(authentication, 'uids', uid))
  for (const each of groups) asked.push(about(group, 'groups', each))
  for (const [key, values] of Object.entries(extra)) {
    for (const value of values) asked.push({ ...about(authentication, 'userextras', value), subresource: key })
  }
  return asked
}

/** A service account is impersonated as the object it is, in its namespace; so is a node where the mode knows of nodes. */
function userAttributes(
  user: string,
  { name }: Mode,
  about: (resource: string, name: string) => Attributes,
): Attributes {
  const account = accountOf(user)
  if (account !== undefined) return { ...about('serviceaccounts', account.name), namespace: account.namespace }
  const node = name === undefined ? undefined : nodeNameOf(user)
  if (node === undefined) return about('users', user)
  // Whoever may act as the node they are on may do so on any.
  return about('nodes', name === 'associated-node' ? '*' : node)
}

function accountOf(user: string): { namespace: string; name: string } | undefined {
  const [namespace = '', name = '', ...rest] = user.startsWith(accountPrefix)
    ? user.slice(accountPrefix.length).split(':')
    : []
  return namespace === '' || name === '' || rest.length > 0 ? undefined : { namespace, name }
}

/** The groups that come with being who one is. */
function complete({ user, uid, groups, extra }: Wanted, { name }: Mode): Identity {
  const all = [...groups]
  const account = accountOf(user)
  if (all.length === 0 && account !== undefined) {
    all.push('system:serviceaccounts', `system:serviceaccounts:${account.namespace}`)
  }
  if (name !== undefined && nodeNameOf(user) !== undefined) all.push('system:nodes')
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
