import type { KubeObject } from '@fairlead/kube/types'
import type { PolicyRule } from '@fairlead/kube/types/rbac-v1'

import type { Registry } from '../../registry.ts'
import { idOf, knownResource, readObject } from '../../resource.ts'
import type { Resource } from '../../resource.ts'
import { StatusError } from '../../status.ts'
import { clusterRoles } from './cluster-roles.ts'
import { componentRoles } from './component-roles.ts'
import { controllerRoles } from './controller-roles.ts'
import { namespaceRoles } from './namespace-roles.ts'
import { reconcileBinding, reconcileRole } from './reconcile.ts'
import { parseRule, renderBinding, renderRole } from './role-facts.ts'
import type { RoleFacts } from './role-facts.ts'

const group = 'rbac.authorization.k8s.io'
const all: readonly RoleFacts[] = [...clusterRoles, ...controllerRoles, ...componentRoles, ...namespaceRoles]

/** Makes the roles and bindings every cluster has, or gives them what they lack; one failure does not stop the others. */
export async function bootstrapRoles(registry: Registry): Promise<void> {
  const settled = await Promise.allSettled(
    all.flatMap((facts) => {
      const binding = renderBinding(facts)
      const role = ensureRole(registry, renderPrimed(facts))
      return binding === undefined ? [role] : [role, ensureBinding(registry, binding)]
    }),
  )
  const failed = settled.find((result) => result.status === 'rejected')
  if (failed !== undefined) throw failed.reason
}

/** A role that collects others begins with what they have, as if its controller had run. */
function renderPrimed(facts: RoleFacts): KubeObject {
  return { ...renderRole(facts), rules: primedRules(facts) }
}

function primedRules({ rules = [], aggregates }: RoleFacts): PolicyRule[] {
  if (aggregates === undefined) return rules.map(parseRule)
  const sources = clusterRoles.filter(({ aggregatesTo }) => aggregatesTo === aggregates)
  const found = new Map<string, PolicyRule>()
  for (const source of sources.toSorted((a, b) => (a.name < b.name ? -1 : 1))) {
    for (const rule of primedRules(source)) found.set(JSON.stringify(rule), rule)
  }
  return [...found.values()]
}

async function ensureRole(registry: Registry, expected: KubeObject): Promise<void> {
  const resource = resourceFor(expected)
  const existing = find(registry, resource, expected)
  if (existing === undefined) return await create(registry, resource, expected)
  const role = reconcileRole(existing, expected)
  if (role !== undefined) await update(registry, resource, role)
}

async function ensureBinding(registry: Registry, expected: KubeObject): Promise<void> {
  const resource = resourceFor(expected)
  const existing = find(registry, resource, expected)
  if (existing === undefined) return await create(registry, resource, expected)
  const step = reconcileBinding(existing, expected)
  if (step?.operation === 'update') await update(registry, resource, step.object)
  if (step?.operation === 'recreate') {
    const { namespace = '', name = '' } = expected.metadata
    await registry.store.delete(resource.collection, idOf(namespace, name))
    await create(registry, resource, expected)
  }
}

function resourceFor({ kind }: KubeObject): Resource {
  return knownResource(group, 'v1', `${kind.toLowerCase()}s`)
}

function find(registry: Registry, resource: Resource, { metadata }: KubeObject): KubeObject | undefined {
  const entry = registry.store.get(resource.collection, idOf(metadata.namespace ?? '', metadata.name ?? ''))
  return entry === undefined ? undefined : readObject(resource, entry)
}

async function create(registry: Registry, resource: Resource, object: KubeObject): Promise<void> {
  try {
    await registry.create(resource, object, { namespace: object.metadata.namespace ?? '', isDryRun: false })
  } catch (error) {
    // A namespace of the cluster that is being deleted gets its roles back at the next start.
    const code = error instanceof StatusError ? error.status.code : 0
    if (code !== 403 && code !== 404 && code !== 409) throw error
  }
}

async function update(registry: Registry, resource: Resource, object: KubeObject): Promise<void> {
  const { namespace = '', name = '' } = object.metadata
  await registry.update(resource, { namespace, name, part: 'object', isDryRun: false }, () => object)
}
