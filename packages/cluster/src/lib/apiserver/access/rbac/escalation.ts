import type { KubeObject } from '@fairlead/kube/types'
import type { ClusterRole, PolicyRule, RoleRef } from '@fairlead/kube/types/rbac-v1'

import type { Identity } from '../../exchange.ts'
import { isEqual } from '../../metadata.ts'
import type { Resource } from '../../resource.ts'
import { forbiddenObject, notFound } from '../../status.ts'
import type { Authorizer } from '../authorizer.ts'
import { isSuperuser } from '../authorizer.ts'
import { compactRules, describeRule, missingRights, quoteAll } from './rules.ts'

const group = 'rbac.authorization.k8s.io'
const everything: readonly PolicyRule[] = [
  { verbs: ['*'], apiGroups: ['*'], resources: ['*'] },
  { verbs: ['*'], nonResourceURLs: ['*'] },
]

/** Throws 403 when somebody writes a role or binding that gives rights they do not have and may not hand on. */
export function checkEscalation(
  authorizer: Authorizer,
  identity: Identity,
  resource: Resource,
  object: KubeObject,
  old: KubeObject | undefined,
): void {
  if (resource.info.group !== group || isSuperuser(identity)) return
  if (old !== undefined && changesOwnersOnly(object, old)) return
  const isRole = resource.info.kind === 'Role' || resource.info.kind === 'ClusterRole'
  if (isRole) checkRole(authorizer, identity, resource, object, old)
  else checkBinding(authorizer, identity, resource, object)
}

function checkRole(
  authorizer: Authorizer,
  identity: Identity,
  resource: Resource,
  object: KubeObject,
  old: KubeObject | undefined,
): void {
  const { namespace = '', name = '' } = object.metadata
  // On create there is no name on the URL yet, so a rule that names roles does not apply.
  const asked = { verb: 'escalate', group, resource: resource.info.plural, subresource: '', namespace }
  if (authorizer.decide(identity, { ...asked, name: old === undefined ? '' : name }).allowed) return
  checkHolds(authorizer, identity, resource, object, (object['rules'] as PolicyRule[] | null | undefined) ?? [])
  if (!collects(object) && !(old !== undefined && collects(old))) return
  if (missingRights(authorizer.policy.rulesFor(identity, '').rules, everything).length > 0) {
    throw forbiddenObject(resource.info, name, 'must have cluster-admin privileges to use the aggregationRule')
  }
}

function checkBinding(authorizer: Authorizer, identity: Identity, resource: Resource, object: KubeObject): void {
  const { namespace = '' } = object.metadata
  const roleRef = object['roleRef'] as RoleRef
  const plural = roleRef.kind === 'Role' ? 'roles' : 'clusterroles'
  const asked = { verb: 'bind', group, resource: plural, subresource: '', namespace, name: roleRef.name }
  if (authorizer.decide(identity, asked).allowed) return
  const rules = authorizer.policy.rulesOf(roleRef, namespace)
  // Nobody knows what a role gives that is still to be made.
  if (rules === undefined) {
    throw notFound({ ...resource.info, plural: roleRef.kind === 'Role' ? 'role' : 'clusterrole' }, roleRef.name)
  }
  checkHolds(authorizer, identity, resource, object, rules)
}

function checkHolds(
  authorizer: Authorizer,
  identity: Identity,
  resource: Resource,
  object: KubeObject,
  wanted: readonly PolicyRule[],
): void {
  const { namespace = '', name = '' } = object.metadata
  const { rules, errors } = authorizer.policy.rulesFor(identity, namespace)
  const missing = missingRights(rules, wanted)
  if (missing.length === 0) return
  const lines = [...new Set(compactRules(missing).map(describeRule))].toSorted()
  const who = `user ${JSON.stringify(identity.user)} (groups=${quoteAll(identity.groups)})`
  const trouble = errors.length === 0 ? '' : `; resolution errors: [${errors.join(' ')}]`
  const why = `${who} is attempting to grant RBAC permissions not currently held:\n${lines.join('\n')}${trouble}`
  throw forbiddenObject(resource.info, name, why)
}

function collects(role: KubeObject): boolean {
  return ((role as KubeObject & ClusterRole).aggregationRule?.clusterRoleSelectors ?? []).length > 0
}

/** Whether a write changes what the garbage collector changes on its way to a deletion: owners and finalizers. */
function changesOwnersOnly(object: KubeObject, old: KubeObject): boolean {
  return isEqual(withoutOwners(object), withoutOwners(old))
}

function withoutOwners(object: KubeObject): KubeObject {
  const { ownerReferences: _o, finalizers: _f, managedFields: _m, resourceVersion: _r, ...metadata } = object.metadata
  return { ...object, metadata }
}
