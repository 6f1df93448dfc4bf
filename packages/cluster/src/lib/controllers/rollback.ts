import type { Deployment, ReplicaSet } from '@fairlead/kube/types/apps-v1'

import { canonicalTemplate, hashLabel, notCopied, revisionOf, rollbackAnnotation } from './revision.ts'

export type Rollback =
  | { readonly act: 'roll-back'; readonly to: ReplicaSet; readonly revision: bigint }
  | { readonly act: 'give-up'; readonly reason: string; readonly message: string }

/** What the annotation of old asks for; undefined when it asks for nothing. */
export function decideRollback(deployment: Deployment, replicaSets: readonly ReplicaSet[]): Rollback | undefined {
  const text = deployment.metadata?.annotations?.[rollbackAnnotation] ?? ''
  if (!/^\d{1,19}$/.test(text)) return undefined
  const reason = 'DeploymentRollbackRevisionNotFound'
  const revision = BigInt(text) === 0n ? revisionBefore(replicaSets) : BigInt(text)
  if (revision === 0n) return { act: 'give-up', reason, message: 'Unable to find last revision.' }
  const to = replicaSets.find((replicaSet) => revisionOf(replicaSet) === revision)
  if (to === undefined) {
    return { act: 'give-up', reason, message: 'Unable to find the revision to rollback to.' }
  }
  if (canonicalTemplate(to.spec?.template) !== canonicalTemplate(deployment.spec?.template)) {
    return { act: 'roll-back', to, revision }
  }
  const message = `The rollback revision contains the same template as current deployment "${deployment.metadata?.name}"`
  return { act: 'give-up', reason: 'DeploymentRollbackTemplateUnchanged', message }
}

/** The second newest; 0 without. */
function revisionBefore(replicaSets: readonly ReplicaSet[]): bigint {
  return replicaSets.map(revisionOf).toSorted((a, b) => (a < b ? 1 : -1))[1] ?? 0n
}

/** The deployment without the annotation that asks for a rollback. */
export function forgetRollback(deployment: Deployment): Deployment {
  const { [rollbackAnnotation]: _, ...annotations } = deployment.metadata?.annotations ?? {}
  return { ...deployment, metadata: { ...deployment.metadata, annotations } }
}

/** The deployment with the template of an earlier replica set, and with what was said of it then. */
export function rollBack(deployment: Deployment, to: ReplicaSet): Deployment {
  const ofDeployment = Object.entries(deployment.metadata?.annotations ?? {}).filter(([key]) => notCopied.has(key))
  const ofThen = Object.entries(to.metadata?.annotations ?? {}).filter(([key]) => !notCopied.has(key))
  const { [hashLabel]: _, ...labels } = to.spec?.template?.metadata?.labels ?? {}
  const template = { ...to.spec?.template, metadata: { ...to.spec?.template?.metadata, labels } }
  return forgetRollback({
    ...deployment,
    metadata: { ...deployment.metadata, annotations: Object.fromEntries([...ofDeployment, ...ofThen]) },
    spec: { selector: {}, ...deployment.spec, template },
  })
}
