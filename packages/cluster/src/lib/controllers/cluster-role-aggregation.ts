import { isDeepStrictEqual } from 'node:util'
import { createInformer } from '@fairlead/kube/cache'
import { fromInformer, keyOf, runController } from '@fairlead/kube/controller'
import type { ClusterRole, PolicyRule } from '@fairlead/kube/types/rbac-v1'

import type { ControllerContext } from './context.ts'
import { matchesSelector } from '../label-selector.ts'

/** Keeps in every ClusterRole with an `aggregationRule` the rules of the roles it selects. */
export function runClusterRoleAggregation(context: ControllerContext): Promise<void> {
  const { client, signal, onError, clock } = context
  const clusterRoles = client.resource('rbac.authorization.k8s.io/v1/ClusterRole')
  const reportError = (error: unknown): void => onError(error, { controller: 'informer' })
  const informer = createInformer(clusterRoles, { signal, clock, onError: reportError })

  return runController({
    name: 'cluster-role-aggregation',
    // Any role may be part of any aggregate.
    sources: [
      fromInformer(informer, () =>
        informer
          .list()
          .filter(({ aggregationRule }) => aggregationRule !== undefined)
          .map((role) => keyOf(role)),
      ),
    ],
    async reconcile(name) {
      const role = informer.get(undefined, name)
      if (role?.aggregationRule === undefined || role.metadata?.deletionTimestamp !== undefined) return
      const rules = aggregateRules(role, informer.list())
      if (isDeepStrictEqual(rules, role.rules ?? [])) return
      const { uid, resourceVersion } = role.metadata ?? {}
      await clusterRoles.patch(name, { type: 'merge', body: { metadata: { uid, resourceVersion }, rules } })
    },
    signal,
    onError,
  })
}

/** The rules of the roles that `role` selects, in the order of their names, each once. */
export function aggregateRules(role: ClusterRole, all: readonly ClusterRole[]): PolicyRule[] {
  const selectors = role.aggregationRule?.clusterRoleSelectors ?? []
  const rules: PolicyRule[] = []
  for (const selector of selectors) {
    const selected = all.filter(
      ({ metadata }) => metadata?.name !== role.metadata?.name && matchesSelector(selector, metadata?.labels ?? {}),
    )
    for (const source of selected.toSorted((a, b) => ((a.metadata?.name ?? '') < (b.metadata?.name ?? '') ? -1 : 1))) {
      for (const rule of source.rules ?? [])
        if (!rules.some((known) => isDeepStrictEqual(known, rule))) rules.push(rule)
    }
  }
  return rules
}
