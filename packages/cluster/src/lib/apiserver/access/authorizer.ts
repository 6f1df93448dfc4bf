import type { Store } from '../../storage/store.ts'
import type { Identity } from '../exchange.ts'
import { forbidden } from '../status.ts'
import type { StatusError } from '../status.ts'
import type { Attributes, Decision } from './attributes.ts'
import { NodeAuthorizer } from './node/node-authorizer.ts'
import { RbacPolicy } from './rbac/policy.ts'

/** Whether somebody may do anything: administrators by certificate, and the server itself. */
export function isSuperuser({ groups }: Identity): boolean {
  return groups.includes('system:masters')
}

/** Decides who may do what: superusers everything, nodes by their pods, everybody by RBAC. */
export class Authorizer {
  readonly policy: RbacPolicy
  readonly nodes: NodeAuthorizer

  constructor(store: Store) {
    this.policy = new RbacPolicy(store)
    this.nodes = new NodeAuthorizer(store)
  }

  close(): void {
    this.policy.close()
    this.nodes.close()
  }

  decide(identity: Identity, asked: Attributes): Decision {
    if (isSuperuser(identity)) return superuser
    const byNode = this.nodes.authorize(identity, asked)
    if (byNode?.allowed === true) return byNode
    const byRole = this.policy.authorize(identity, asked)
    if (byRole.allowed || byNode === undefined || byNode.reason === '') return byRole
    const reasons = [byNode.reason, byRole.reason].filter((reason) => reason !== '')
    return { allowed: false, reason: reasons.join('\n') }
  }

  /** The decision; throws 403 when it is no. */
  check(identity: Identity, asked: Attributes): Decision {
    const decision = this.decide(identity, asked)
    if (!decision.allowed) throw accessForbidden(identity, asked, decision.reason)
    return decision
  }
}

const superuser: Decision = { allowed: true, reason: '' }

/** The 403 of upstream, word for word: clients match on it. */
export function accessForbidden(identity: Identity, asked: Attributes, reason: string): StatusError {
  const because = reason === '' ? '' : `: ${reason}`
  const sentence = `${escapeHtml(describe(identity, asked))}${because}`
  const { group, resource, name } = asked
  if (asked.path !== undefined) return forbidden(`forbidden: ${sentence}`, {})
  const subject = `${resource}${group === '' ? '' : `.${group}`}${name === '' ? '' : ` ${JSON.stringify(name)}`}`
  return forbidden(`${subject} is forbidden: ${sentence}`, {
    ...(name === '' ? {} : { name }),
    ...(group === '' ? {} : { group }),
    kind: resource,
  })
}

function describe({ user }: Identity, asked: Attributes): string {
  const who = `User ${JSON.stringify(user)} cannot ${asked.verb}`
  if (asked.path !== undefined) return `${who} path ${JSON.stringify(asked.path)}`
  const { group, resource, subresource, namespace } = asked
  const what = subresource === '' ? resource : `${resource}/${subresource}`
  const where = namespace === '' ? 'at the cluster scope' : `in the namespace ${JSON.stringify(namespace)}`
  return `${who} resource ${JSON.stringify(what)} in API group ${JSON.stringify(group)} ${where}`
}

function escapeHtml(text: string): string {
  return text.replaceAll('&', '&amp;').replaceAll('<', '&lt;').replaceAll('>', '&gt;')
}
