import { createHash } from 'node:crypto'

import type { Deployment, ReplicaSet } from '@fairlead/kube/types/apps-v1'
import type { PodTemplateSpec } from '@fairlead/kube/types/core-v1'

export const revisionAnnotation = 'deployment.kubernetes.io/revision'
const historyAnnotation = 'deployment.kubernetes.io/revision-history'
const desiredAnnotation = 'deployment.kubernetes.io/desired-replicas'
const maxAnnotation = 'deployment.kubernetes.io/max-replicas'
export const hashLabel = 'pod-template-hash'

/** Asks for an earlier revision; 0 for the one before the newest. */
export const rollbackAnnotation = 'deprecated.deployment.rollback.to'

/** Annotations of a Deployment that say something of the Deployment alone. */
export const notCopied: ReadonlySet<string> = new Set([
  'kubectl.kubernetes.io/last-applied-configuration',
  rollbackAnnotation,
  revisionAnnotation,
  historyAnnotation,
  desiredAnnotation,
  maxAnnotation,
])

/** The replica set of the deployment's present template: the oldest, should there be several. */
export function findNewReplicaSet(deployment: Deployment, replicaSets: readonly ReplicaSet[]): ReplicaSet | undefined {
  const wanted = canonicalTemplate(deployment.spec?.template)
  return replicaSets.filter(({ spec }) => canonicalTemplate(spec?.template) === wanted).toSorted(compareAge)[0]
}

/** Oldest first. */
export function compareAge(a: ReplicaSet, b: ReplicaSet): number {
  const [timeA = '', timeB = ''] = [a.metadata?.creationTimestamp, b.metadata?.creationTimestamp]
  return timeA.localeCompare(timeB) || (a.metadata?.name ?? '').localeCompare(b.metadata?.name ?? '')
}

/** Ten letters that name a template; `collisions` is raised when another template of that name exists already. */
export function hashTemplate(template: PodTemplateSpec | undefined, collisions: number): string {
  const digest = createHash('sha256')
    .update(`${canonicalTemplate(template)}\0${collisions}`)
    .digest()
  return [...digest.subarray(0, 10)].map((byte) => alphabet[byte % alphabet.length] ?? '').join('')
}

/** Without vowels and look-alikes, so no hash spells a word. */
const alphabet = 'bcdfghjklmnpqrstvwxz2456789'

/** Text by which equal templates are equal, whatever the order of their keys; the hash label and empty fields do not count. */
export function canonicalTemplate(template: PodTemplateSpec | undefined): string {
  const labels = Object.entries(template?.metadata?.labels ?? {}).filter(([key]) => key !== hashLabel)
  return JSON.stringify(
    canonical({ ...template, metadata: { ...template?.metadata, labels: Object.fromEntries(labels) } }),
  )
}

function canonical(value: unknown): unknown {
  if (Array.isArray(value)) {
    return value.map(canonical)
  }
  if (typeof value !== 'object' || value === null) {
    return value
  }
  const fields = Object.entries(value)
    .filter(([, field]) => field !== null && field !== undefined && !(Array.isArray(field) && field.length === 0))
    .toSorted(([a], [b]) => (a < b ? -1 : 1))
  return Object.fromEntries(fields.map(([key, field]) => [key, canonical(field)]))
}

/** An int64, as everything that counts revisions has it: a number would lose digits. */
export function revisionOf({ metadata }: Deployment | ReplicaSet): bigint {
  const text = metadata?.annotations?.[revisionAnnotation] ?? ''
  return /^\d{1,19}$/.test(text) ? BigInt(text) : 0n
}

/** The revision a template gets when it becomes the newest. */
export function nextRevision(oldReplicaSets: readonly ReplicaSet[]): bigint {
  return oldReplicaSets.map(revisionOf).reduce(larger, 0n) + 1n
}

function larger(a: bigint, b: bigint): bigint {
  return a > b ? a : b
}

/** How many replicas the replica set may have at most while it is rolled out; undefined when nothing says so. */
export function maxReplicasOf({ metadata }: ReplicaSet): number | undefined {
  const text = metadata?.annotations?.[maxAnnotation]
  return text === undefined ? undefined : Number.parseInt(text, 10)
}

/** The number of replicas the deployment asked for when the replica set was last scaled. */
export function desiredReplicasOf({ metadata }: ReplicaSet): number | undefined {
  const text = metadata?.annotations?.[desiredAnnotation]
  return text === undefined ? undefined : Number.parseInt(text, 10)
}

/** Annotations that remember what a replica set was scaled for. */
export function scaleAnnotations(desired: number, max: number): Record<string, string> {
  return { [desiredAnnotation]: String(desired), [maxAnnotation]: String(max) }
}

/** The annotations of the newest replica set: the deployment's own, and its place in history. */
export function newestAnnotations(
  deployment: Deployment,
  replicaSet: ReplicaSet | undefined,
  options: { readonly revision: bigint; readonly maxReplicas: number },
): Record<string, string> {
  const own = Object.entries(deployment.metadata?.annotations ?? {}).filter(([key]) => !notCopied.has(key))
  const current = replicaSet?.metadata?.annotations
  const known = replicaSet === undefined ? 0n : revisionOf(replicaSet)
  const revision = larger(options.revision, known)
  return {
    ...current,
    ...Object.fromEntries(own),
    ...(replicaSet === undefined && scaleAnnotations(deployment.spec?.replicas ?? 1, options.maxReplicas)),
    // A template that comes back keeps the numbers it had before.
    ...(known > 0n && known < revision && { [historyAnnotation]: appendHistory(current?.[historyAnnotation], known) }),
    [revisionAnnotation]: String(revision),
  }
}

/** At most 2,000 letters (Kubernetes' maxRevHistoryLengthInChars): the oldest are forgotten. */
function appendHistory(history: string | undefined, revision: bigint): string {
  const known = history === undefined || history === '' ? [] : history.split(',')
  const all = [...known, String(revision)]
  while (all.join(',').length > 2000) all.shift()
  return all.join(',')
}

/** The replica set a new template starts with. */
export function renderReplicaSet(
  deployment: Deployment,
  options: { readonly hash: string; readonly replicas: number; readonly annotations: Record<string, string> },
): ReplicaSet {
  const { name = '', namespace, uid = '' } = deployment.metadata ?? {}
  const { selector, template, minReadySeconds } = deployment.spec ?? { selector: {} }
  const labels = { ...template?.metadata?.labels, [hashLabel]: options.hash }
  return {
    apiVersion: 'apps/v1',
    kind: 'ReplicaSet',
    metadata: {
      name: `${name}-${options.hash}`,
      namespace,
      labels,
      annotations: options.annotations,
      ownerReferences: [
        { apiVersion: 'apps/v1', kind: 'Deployment', name, uid, controller: true, blockOwnerDeletion: true },
      ],
    },
    spec: {
      replicas: options.replicas,
      minReadySeconds,
      selector: { ...selector, matchLabels: { ...selector.matchLabels, [hashLabel]: options.hash } },
      template: { ...template, metadata: { ...template?.metadata, labels } },
    },
  }
}

/** Replica sets the history limit no longer covers: scaled to nothing, seen by their controller, lowest revisions first. */
export function decideCleanup(deployment: Deployment, oldReplicaSets: readonly ReplicaSet[]): ReplicaSet[] {
  const limit = deployment.spec?.revisionHistoryLimit ?? 10
  const living = oldReplicaSets.filter(({ metadata }) => metadata?.deletionTimestamp === undefined)
  const ranked = living.toSorted((a, b) => Number(revisionOf(a) - revisionOf(b)) || compareAge(a, b))
  return ranked
    .slice(0, Math.max(0, living.length - limit))
    .filter(
      ({ metadata, spec, status }) =>
        spec?.replicas === 0 &&
        (status?.replicas ?? 0) === 0 &&
        (status?.observedGeneration ?? 0) >= (metadata?.generation ?? 0),
    )
}
