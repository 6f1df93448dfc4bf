import type { KubeObject, ObjectMeta } from '@fairlead/kube/types'
import type { Namespace, Pod } from '@fairlead/kube/types/core-v1'

import type { AdmissionScope } from './admission/scope.ts'
import { renderTime } from './metadata.ts'
import type { Resource } from './resource.ts'
import { badRequest, conflict, forbiddenObject } from './status.ts'

/** What a client asked of a deletion. */
export interface Deletion {
  readonly gracePeriodSeconds: number | undefined
  readonly propagationPolicy: 'Orphan' | 'Background' | 'Foreground' | undefined
  readonly preconditions: { readonly uid?: string | undefined; readonly resourceVersion?: string | undefined }
  readonly isDryRun: boolean
  /** What the request says to admission, and what that says back. */
  readonly scope?: AdmissionScope | undefined
}

/** Reads `DeleteOptions` from body and query; the query wins where both say something. */
export function parseDeletion(body: Record<string, unknown> | undefined, query: URLSearchParams): Deletion {
  const grace = query.get('gracePeriodSeconds') ?? body?.['gracePeriodSeconds'] ?? undefined
  const policy = query.get('propagationPolicy') ?? body?.['propagationPolicy'] ?? undefined
  const orphan = query.get('orphanDependents') ?? body?.['orphanDependents'] ?? undefined
  const dryRun = [...query.getAll('dryRun'), ...asList(body?.['dryRun'])]
  return {
    gracePeriodSeconds: grace === undefined ? undefined : wholeSeconds(grace),
    propagationPolicy: policy === undefined ? fromOrphan(orphan) : parsePolicy(policy),
    preconditions: parsePreconditions(body?.['preconditions']),
    isDryRun: dryRun.includes('All'),
  }
}

/** What becomes of `object`, which may be changed: nothing, another version of it, or it is gone. */
export function planDeletion(
  stored: Resource,
  object: KubeObject,
  deletion: Deletion,
  now: number,
): 'gone' | KubeObject | undefined {
  checkPreconditions(stored, object, deletion)
  const { metadata } = object
  const isProtected = stored.info.kind === 'Namespace' && lasting.has(metadata.name ?? '')
  if (isProtected) throw forbiddenObject(stored.info, metadata.name ?? '', 'this namespace may not be deleted')
  const hasFinalizersChanged = setPropagation(metadata, deletion.propagationPolicy ?? defaultPolicy(stored, metadata))
  const grace = stored.info.kind === 'Pod' ? podGrace(object, deletion.gracePeriodSeconds) : 0
  const remaining = metadata.deletionGracePeriodSeconds
  if (metadata.deletionTimestamp !== undefined && remaining !== undefined && grace >= remaining && remaining > 0) {
    return hasFinalizersChanged ? object : undefined
  }
  const isHeld = (metadata.finalizers ?? []).length > 0 || (object as KubeObject & Namespace).spec?.finalizers?.length
  if (grace === 0 && !isHeld) return 'gone'
  if (metadata.deletionTimestamp !== undefined && remaining === grace) return hasFinalizersChanged ? object : undefined
  if (metadata.deletionTimestamp === undefined && metadata.generation !== undefined) metadata.generation += 1
  metadata.deletionTimestamp = renderTime(now + grace * 1000)
  metadata.deletionGracePeriodSeconds = grace
  if (stored.info.kind === 'Namespace')
    object['status'] = { ...(object as KubeObject & Namespace).status, phase: 'Terminating' }
  return object
}

const lasting = new Set(['default', 'kube-system', 'kube-public'])
const defaultGraceSeconds = 30
const mostGraceSeconds = 100_000_000_000

/** How long the node gives a pod. One that runs nowhere, or has ended, needs no time. */
function podGrace(object: KubeObject, asked: number | undefined): number {
  const { spec, status } = object as Pod
  const isOver = status?.phase === 'Succeeded' || status?.phase === 'Failed'
  if ((spec?.nodeName ?? '') === '' || isOver) return 0
  // A bigint, where it is longer than any date can tell.
  const grace: unknown = asked ?? spec?.terminationGracePeriodSeconds ?? defaultGraceSeconds
  return Math.min(Number(grace), mostGraceSeconds)
}

function checkPreconditions(stored: Resource, object: KubeObject, { preconditions }: Deletion): void {
  const { uid, resourceVersion, name = '' } = object.metadata
  const wanted = preconditions.uid
  if (wanted !== undefined && wanted !== uid) {
    throw conflict(stored.info, name, `Precondition failed: UID in precondition: ${wanted}, UID in object meta: ${uid}`)
  }
  const version = preconditions.resourceVersion
  if (version !== undefined && version !== resourceVersion) {
    const why = `Precondition failed: ResourceVersion in precondition: ${version}, ResourceVersion in object meta: ${resourceVersion}`
    throw conflict(stored.info, name, why)
  }
}

/** Kinds that are older than garbage collection leave their pods behind unless told otherwise, as they always have. */
const orphaning = new Set(['v1/ReplicationController', 'batch/v1/Job'])

function defaultPolicy({ info }: Resource, { finalizers = [] }: ObjectMeta): Deletion['propagationPolicy'] {
  if (finalizers.includes('orphan') || finalizers.includes('foregroundDeletion')) return undefined
  return orphaning.has(`${info.apiVersion}/${info.kind}`) ? 'Orphan' : undefined
}

/** Leaves word for the garbage collector in the finalizers; returns whether they changed. */
function setPropagation(metadata: ObjectMeta, policy: Deletion['propagationPolicy']): boolean {
  if (policy === undefined) return false
  const wanted = policy === 'Orphan' ? 'orphan' : policy === 'Foreground' ? 'foregroundDeletion' : undefined
  const before = metadata.finalizers ?? []
  const others = before.filter((name) => name !== 'orphan' && name !== 'foregroundDeletion')
  const after = wanted === undefined ? others : [...others, wanted]
  if (after.length > 0) metadata.finalizers = after
  else delete metadata.finalizers
  return after.length !== before.length || after.some((name) => !before.includes(name))
}

function parsePreconditions(value: unknown): Deletion['preconditions'] {
  if (typeof value !== 'object' || value === null) return {}
  const { uid, resourceVersion } = value as Record<string, unknown>
  return {
    uid: typeof uid === 'string' ? uid : undefined,
    resourceVersion: typeof resourceVersion === 'string' ? resourceVersion : undefined,
  }
}

function fromOrphan(orphan: unknown): Deletion['propagationPolicy'] {
  if (orphan === undefined) return undefined
  return orphan === true || orphan === 'true' ? 'Orphan' : 'Background'
}

function parsePolicy(policy: unknown): Deletion['propagationPolicy'] {
  if (policy === 'Orphan' || policy === 'Background' || policy === 'Foreground') return policy
  throw badRequest(`invalid propagationPolicy "${String(policy)}": must be "Background", "Foreground" or "Orphan"`)
}

function wholeSeconds(value: unknown): number {
  const seconds = Number(value)
  if (!Number.isInteger(seconds))
    throw badRequest(`invalid gracePeriodSeconds "${String(value)}": must be a whole number`)
  // Negative means "at once, with the least grace" to upstream.
  return seconds < 0 ? 1 : seconds
}

function asList(value: unknown): unknown[] {
  return Array.isArray(value) ? value : []
}
