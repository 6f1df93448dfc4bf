import type { Pod } from '@fairlead/kube/types/core-v1'

import { relate } from './affinity.ts'
import type { NamespaceLabels, PodRelations } from './affinity.ts'
import { createFilter } from './filter.ts'
import { viewNode } from './node-view.ts'
import type { NodeView } from './node-view.ts'
import { priorityOf } from './priority.ts'
import { noRejections } from './rejection.ts'
import type { Rejection } from './rejection.ts'
import { choose } from './score.ts'
import { spread } from './topology-spread.ts'
import type { Spread } from './topology-spread.ts'

/** What a pod's place depends on. */
export interface Scene {
  readonly views: readonly NodeView[]
  readonly namespaces: NamespaceLabels
  /** Pods that room on a node is meant for. */
  readonly nominatedOn: (nodeName: string) => readonly Pod[]
  /** Why a node is too far from the pod's volumes. */
  readonly volumes?: ((view: NodeView) => readonly Rejection[]) | undefined
}

export interface Verdict {
  readonly view: NodeView
  readonly rejections: readonly Rejection[]
}

export type Finding =
  | { readonly view: NodeView }
  /** No node takes the pod; why each does not. */
  | { readonly verdicts: readonly Verdict[] }

/** The node a pod should be on. The one named by `preferred`, where room was made for it, is taken if it can be. */
export function findPlace(pod: Pod, scene: Scene, preferred = ''): Finding {
  const judge = createJudge(pod, scene)
  const promised = preferred === '' ? undefined : scene.views.find(({ name }) => name === preferred)
  if (promised !== undefined && judge.rejectionsOf(promised).length === 0) return { view: promised }
  const verdicts = scene.views.map((view) => ({ view, rejections: judge.rejectionsOf(view) }))
  const open = verdicts.filter(({ rejections }) => rejections.length === 0).map(({ view }) => view)
  const chosen = choose(pod, open, {
    attractionOf: judge.relations?.attractionOf,
    crowdingOf: judge.spreading?.crowdingOf,
  })
  return chosen === undefined ? { verdicts } : { view: chosen }
}

/** Why a pod could not be on a node even if that were as `view` says. */
export function rejectionsIf(pod: Pod, view: NodeView, scene: Scene): readonly Rejection[] {
  return createJudge(pod, replaceView(scene, view)).rejectionsOf(view)
}

interface Judge {
  readonly rejectionsOf: (view: NodeView) => readonly Rejection[]
  readonly relations: PodRelations | undefined
  readonly spreading: Spread | undefined
}

function createJudge(pod: Pod, scene: Scene): Judge {
  const bare = judgeWithout(pod, scene)
  return {
    ...bare,
    rejectionsOf(view) {
      const expected = expectedOn(pod, view, scene)
      // With the others that room is meant for, and also without: they may never come.
      if (expected.length > 0) {
        const full = viewNode(view.node, [...view.pods, ...expected])
        const rejections = judgeWithout(pod, replaceView(scene, full)).rejectionsOf(full)
        if (rejections.length > 0) return rejections
      }
      return bare.rejectionsOf(view)
    },
  }
}

/** Others that room on a node is meant for, and that matter as much. */
function expectedOn(pod: Pod, { name }: NodeView, { nominatedOn }: Scene): readonly Pod[] {
  const nominated = nominatedOn(name)
  if (nominated.length === 0) return nominated
  return nominated.filter((other) => other.metadata?.uid !== pod.metadata?.uid && priorityOf(other) >= priorityOf(pod))
}

function judgeWithout(pod: Pod, { views, namespaces, volumes }: Scene): Judge {
  const ownRejectionsOf = createFilter(pod)
  const relations = relate(pod, views, namespaces)
  const spreading = spread(pod, views)
  return {
    relations,
    spreading,
    rejectionsOf(view) {
      const own = ownRejectionsOf(view)
      if (own.length > 0) return own
      const distant = volumes?.(view) ?? noRejections
      if (distant.length > 0) return distant
      const crowded = spreading?.rejectionsOf(view) ?? noRejections
      if (crowded.length > 0) return crowded
      return relations?.rejectionsOf(view) ?? noRejections
    },
  }
}

function replaceView(scene: Scene, view: NodeView): Scene {
  return { ...scene, views: scene.views.map((other) => (other.name === view.name ? view : other)) }
}
