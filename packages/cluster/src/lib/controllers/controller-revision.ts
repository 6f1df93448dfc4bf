import { isAlreadyExists } from '@fairlead/kube'
import type { KubeResource } from '@fairlead/kube'
import type { LabelSelector } from '@fairlead/kube/types'
import type { ControllerRevision } from '@fairlead/kube/types/apps-v1'
import type { PodTemplateSpec } from '@fairlead/kube/types/core-v1'

import { byController } from './context.ts'
import type { ControllerContext } from './context.ts'
import { claimObjects, controllerReference, decideClaim, orphansOf } from './ownership.ts'
import { canonicalTemplate } from './revision.ts'
import { ignoreNotFound } from './write.ts'

/** The label by which pods of StatefulSets and DaemonSets tell their revision. */
export const revisionLabel = 'controller-revision-hash'

/** A workload that keeps a ControllerRevision for each template it had. */
export interface RevisionOwner {
  /** With `apiVersion` and `kind`. */
  readonly object: KubeResource
  readonly selector: LabelSelector
  readonly template: PodTemplateSpec
  readonly collisionCount: number
  /** The label of a revision that carries its hash. */
  readonly hashLabel: string
}

export type HistoryPlan =
  | { readonly act: 'keep'; readonly revision: ControllerRevision }
  /** An earlier template is back: its revision becomes the newest. */
  | { readonly act: 'renumber'; readonly revision: ControllerRevision; readonly number: number }
  | { readonly act: 'create'; readonly number: number }

/** What makes the newest of `revisions` (oldest first) the one of `template`. */
export function decideHistory(revisions: readonly ControllerRevision[], template: PodTemplateSpec): HistoryPlan {
  const wanted = canonicalTemplate(template)
  const equal = revisions.findLast((revision) => canonicalTemplate(templateOf(revision)) === wanted)
  const newest = revisions.at(-1)
  const number = (newest?.revision ?? 0) + 1
  if (equal === undefined) return { act: 'create', number }
  return equal === newest ? { act: 'keep', revision: equal } : { act: 'renumber', revision: equal, number }
}

/** The revisions to let go: the oldest of those nobody uses, past `limit`. */
export function decideTruncation(
  revisions: readonly ControllerRevision[],
  options: { readonly live: ReadonlySet<string>; readonly limit: number },
): ControllerRevision[] {
  const spare = revisions.filter(({ metadata }) => !options.live.has(metadata?.name ?? ''))
  return spare.slice(0, Math.max(0, spare.length - options.limit))
}

/** The template a revision stands for. */
export function templateOf({ data }: ControllerRevision): PodTemplateSpec | undefined {
  const template = (data as { spec?: { template?: PodTemplateSpec & { $patch?: string } } } | undefined)?.spec?.template
  if (template === undefined) return undefined
  const { $patch: _, ...rest } = template
  return rest
}

/** A strategic merge patch of the owner, which `kubectl rollout undo` sends as it is. */
export function renderRevision(owner: RevisionOwner, number: number): ControllerRevision {
  const { object, template, hashLabel } = owner
  const { name = '', namespace, annotations } = object.metadata ?? {}
  const hash = hashRevision(template, owner.collisionCount)
  return {
    apiVersion: 'apps/v1',
    kind: 'ControllerRevision',
    metadata: {
      // Kubernetes leaves room for the hash in a name of 253 letters.
      name: `${name.slice(0, 223)}-${hash}`,
      namespace,
      labels: { ...template.metadata?.labels, [hashLabel]: hash },
      annotations: { ...annotations },
      ownerReferences: [controllerReference(object)],
    },
    data: { spec: { template: inGoOrder({ $patch: 'replace', ...template }) } },
    revision: number,
  }
}

/** Keys as Go writes those of a map: programs tell whose revision it is by comparing the bytes. */
function inGoOrder(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(inGoOrder)
  if (typeof value !== 'object' || value === null) return value
  const fields = Object.entries(value).toSorted(([a], [b]) => (a < b ? -1 : 1))
  return Object.fromEntries(fields.map(([key, field]) => [key, inGoOrder(field)]))
}

/** FNV-1 over the template, in letters that spell no word (Kubernetes' HashControllerRevision and SafeEncodeString). */
export function hashRevision(template: PodTemplateSpec, collisionCount: number): string {
  let hash = 0x811c9dc5
  for (const byte of Buffer.from(`${canonicalTemplate(template)}${collisionCount}`)) {
    hash = Math.imul(hash, 0x01000193) ^ byte
  }
  const digits = String(hash >>> 0)
  return Array.from(digits, (digit) => letters[digit.charCodeAt(0) % letters.length] ?? '').join('')
}

const letters = 'bcdfghjklmnpqrstvwxz2456789'

export interface RevisionHistory {
  /** The revisions of an owner, oldest first; orphans that match are taken. */
  claim(owner: RevisionOwner): Promise<ControllerRevision[]>
  /** Makes the newest revision the one of the owner's template; `revisions` are those claimed. */
  sync(owner: RevisionOwner, revisions: readonly ControllerRevision[]): Promise<SyncedHistory>
  remove(revisions: readonly ControllerRevision[]): Promise<void>
}

export interface SyncedHistory {
  /** The revision of the owner's present template. */
  readonly newest: ControllerRevision
  /** All of them, oldest first. */
  readonly revisions: readonly ControllerRevision[]
  /** Raised when other templates have taken the names of ours. */
  readonly collisionCount: number
}

/** History of the kind `ownerKind`, such as `StatefulSet`. */
export function createRevisionHistory(
  { client, informers }: ControllerContext,
  ownerKind: 'StatefulSet' | 'DaemonSet',
): RevisionHistory {
  const objects = client.resource('apps/v1/ControllerRevision')
  const owners = client.object('apps/v1', ownerKind)

  async function create(owner: RevisionOwner, number: number): Promise<[ControllerRevision, number]> {
    for (let collisionCount = owner.collisionCount; ; collisionCount += 1) {
      const wanted = renderRevision({ ...owner, collisionCount }, number)
      const { name = '', namespace } = wanted.metadata ?? {}
      try {
        return [await objects.create(wanted), collisionCount]
      } catch (error) {
        if (!isAlreadyExists(error)) throw error
      }
      // The cache may be behind, or somebody else has the name.
      const taken = await ignoreNotFound(objects.get(name, { namespace }))
      const isOurs = taken?.metadata?.ownerReferences?.some(({ uid }) => uid === owner.object.metadata?.uid) === true
      if (isOurs && canonicalTemplate(templateOf(taken)) === canonicalTemplate(owner.template)) {
        return [taken, collisionCount]
      }
    }
  }

  async function renumber(revision: ControllerRevision, number: number): Promise<ControllerRevision> {
    const { name = '', namespace, uid } = revision.metadata ?? {}
    const body = { metadata: { uid }, revision: number }
    return objects.patch(name, { type: 'merge', body }, { namespace })
  }

  return {
    async claim({ object, selector }) {
      const { uid = '', namespace } = object.metadata ?? {}
      const candidates = [
        ...informers.controllerRevisions.byIndex(byController, uid),
        ...informers.controllerRevisions.byIndex(byController, orphansOf(namespace)),
      ]
      const claim = decideClaim(object, selector, candidates)
      // What no longer matches stays: a history is not released.
      const kept = [...claim.kept, ...claim.released]
      const owned = await claimObjects({ objects, owners }, object, { ...claim, kept, released: [] })
      return owned.toSorted(compareRevisions)
    },
    async sync(owner, revisions) {
      const plan = decideHistory(revisions, owner.template)
      if (plan.act === 'keep') return { newest: plan.revision, revisions, collisionCount: owner.collisionCount }
      const [newest, collisionCount] =
        plan.act === 'create'
          ? await create(owner, plan.number)
          : [await renumber(plan.revision, plan.number), owner.collisionCount]
      const others = revisions.filter(({ metadata }) => metadata?.uid !== newest.metadata?.uid)
      return { newest, revisions: [...others, newest], collisionCount }
    },
    async remove(revisions) {
      await Promise.all(
        revisions.map(({ metadata }) =>
          ignoreNotFound(objects.delete(metadata?.name ?? '', { namespace: metadata?.namespace, uid: metadata?.uid })),
        ),
      )
    },
  }
}

function compareRevisions(a: ControllerRevision, b: ControllerRevision): number {
  const [timeA = '', timeB = ''] = [a.metadata?.creationTimestamp, b.metadata?.creationTimestamp]
  const byTime = timeA.localeCompare(timeB)
  return a.revision - b.revision || byTime || (a.metadata?.name ?? '').localeCompare(b.metadata?.name ?? '')
}
