import { discoverResources, isNotFound } from '@fairlead/kube'
import type { KubeClient, KubeResource, ServedResource } from '@fairlead/kube'
import { createInformer } from '@fairlead/kube/cache'
import { pause, runController } from '@fairlead/kube/controller'
import type { Source } from '@fairlead/kube/controller'
import { findKind } from '@fairlead/kube/types'
import type { OwnerReference } from '@fairlead/kube/types'

import type { ControllerContext } from './context.ts'
import {
  blockingDependents,
  createOwnerGraph,
  decideCollection,
  foregroundFinalizer,
  isHolding,
  orphanFinalizer,
} from './owner-graph.ts'
import type { GraphNode, OwnerGraph, OwnerState } from './owner-graph.ts'
import { ignoreNotFound } from './write.ts'

/** Records of the past own nothing and are owned by nothing. */
const ignored: ReadonlySet<string> = new Set(['v1/Event', 'events.k8s.io/v1/Event'])
/** How soon to ask again what is served when the server could not say. */
const rediscoverMs = 1000
const definitions = { apiVersion: 'apiextensions.k8s.io/v1', kind: 'CustomResourceDefinition' }

/**
 * Deletes what its owners leave behind: everything whose owners are all gone (background), everything an owner deleted
 * in the foreground waits for, and nothing of an owner that orphans. Follows all served resources by metadata.
 */
export async function runGarbageCollector(context: ControllerContext): Promise<void> {
  const { client, clock, signal, onError } = context
  const graph = createOwnerGraph()
  const collector = createCollector(client, graph)
  await runController({
    name: 'garbage-collector',
    sources: [followResources(context, graph)],
    reconcile: async (uid) => {
      const node = graph.get(uid)
      if (node !== undefined) {
        await collector.collect(node)
      }
    },
    concurrency: 16,
    signal,
    onError,
    clock,
  })
}

/** Feeds the graph from an informer per served resource; custom resources join as they are defined, and leave. */
function followResources(context: ControllerContext, graph: OwnerGraph): Source {
  const { client, clock, signal, onError } = context
  const followed = new Map<string, AbortController>()
  const report = (error: unknown): void => onError(error, { controller: 'garbage-collector' })

  async function follow({ apiVersion, kind }: ServedResource, add: (uid: string) => void): Promise<void> {
    const stop = new AbortController()
    followed.set(keyOfKind(apiVersion, kind), stop)
    const informer = createInformer(client.object(apiVersion, kind), {
      metadataOnly: true,
      signal: AbortSignal.any([signal, stop.signal]),
      clock,
      onError: report,
    })
    stop.signal.addEventListener('abort', () => {
      for (const { metadata } of informer.list()) for (const uid of graph.remove(metadata.uid ?? '')) add(uid)
    })
    informer.on((event, object) => {
      // Metadata alone is served under a kind of its own.
      const known = { apiVersion, kind, metadata: object.metadata }
      const touched = event === 'delete' ? graph.remove(object.metadata.uid ?? '') : graph.put(known)
      for (const uid of touched) {
        add(uid)
      }
    })
    await informer.start().catch((error: unknown) => {
      if (!stop.signal.aborted) throw error
    })
  }

  /** Nobody serves these kinds any more: to ask for them would fail for ever. */
  function unfollow(kinds: readonly string[]): void {
    for (const key of kinds) {
      followed.get(key)?.abort()
      followed.delete(key)
    }
  }

  async function followNew(add: (uid: string) => void): Promise<ServedResource[]> {
    const resources = await discoverResources(client, { onError: report, signal })
    const fresh = resources.filter(
      ({ apiVersion, kind, verbs }) =>
        ['list', 'watch', 'delete'].every((verb) => verbs.includes(verb)) &&
        !ignored.has(keyOfKind(apiVersion, kind)) &&
        !followed.has(keyOfKind(apiVersion, kind)),
    )
    await Promise.all(fresh.map((resource) => follow(resource, add)))
    return fresh
  }

  /** Without knowing what is served nothing can be collected: asked until answered. */
  async function untilDiscovered<T>(discover: () => Promise<T>): Promise<T> {
    for (;;) {
      try {
        return await discover()
      } catch (error) {
        signal.throwIfAborted()
        report(error)
        await pause(clock, rediscoverMs, signal)
      }
    }
  }

  return {
    async start(add) {
      const resources = await untilDiscovered(() => followNew(add))
      if (resources.some(({ kind }) => kind === definitions.kind)) {
        const informer = createInformer<Definition>(client.object(definitions.apiVersion, definitions.kind), {
          signal,
          clock,
          onError: report,
        })
        informer.on((event, definition, old) => {
          const served = event === 'delete' ? [] : servedKinds(definition)
          unfollow([definition, ...(old ? [old] : [])].flatMap(allKinds).filter((kind) => !served.includes(kind)))
          if (event !== 'delete') {
            followNew(add).catch(report)
          }
        })
        await informer.start()
      }
    },
  }
}

interface Definition extends KubeResource {
  readonly spec?: {
    readonly group?: string
    readonly names?: { readonly kind?: string }
    readonly versions?: readonly { readonly name?: string; readonly served?: boolean }[]
  }
}

function keyOfKind(apiVersion: string, kind: string): string {
  return `${apiVersion}/${kind}`
}

function allKinds({ spec }: Definition): string[] {
  return (spec?.versions ?? []).map(({ name }) => keyOfKind(`${spec?.group}/${name}`, spec?.names?.kind ?? ''))
}

function servedKinds(definition: Definition): string[] {
  const versions = (definition.spec?.versions ?? []).filter(({ served }) => served === true)
  return allKinds({ spec: { ...definition.spec, versions } })
}

function createCollector(client: KubeClient, graph: OwnerGraph): { collect(node: GraphNode): Promise<void> } {
  async function collect(node: GraphNode): Promise<void> {
    if (isHolding(node)) {
      await (node.finalizers.includes(orphanFinalizer) ? orphanDependents(node) : awaitDependents(node))
      return
    }
    const states = new Map<string, OwnerState>()
    for (const owner of node.owners) {
      states.set(owner.uid, await stateOf(node, owner))
    }
    const decision = decideCollection(node, ({ uid }) => states.get(uid) ?? 'solid', graph.dependentsOf(node.uid))
    if (decision.act === 'delete') {
      const { uid, namespace } = node
      const { propagationPolicy, unblocksOwners } = decision
      if (unblocksOwners === true) {
        const ownerReferences = node.owners.map((owner) => ({ ...owner, blockOwnerDeletion: false }))
        await patchMetadata(node, { ownerReferences })
      }
      await ignoreNotFound(objectsOf(node).delete(node.name, { namespace, uid, propagationPolicy }))
    } else if (decision.act === 'disown') {
      await disown(node, decision.uids)
    }
  }

  /** Deletes what holds the owner back; lets the owner go when nothing does. */
  async function awaitDependents(owner: GraphNode): Promise<void> {
    const dependents = graph.dependentsOf(owner.uid)
    if (blockingDependents(owner, dependents).length === 0) {
      await removeFinalizer(owner, foregroundFinalizer)
      return
    }
    await Promise.all(dependents.filter(({ isDeleting }) => !isDeleting).map(collect))
  }

  async function orphanDependents(owner: GraphNode): Promise<void> {
    await Promise.all(graph.dependentsOf(owner.uid).map((dependent) => disown(dependent, [owner.uid])))
    await removeFinalizer(owner, orphanFinalizer)
  }

  async function disown(node: GraphNode, uids: readonly string[]): Promise<void> {
    await patchMetadata(node, { ownerReferences: node.owners.filter(({ uid }) => !uids.includes(uid)) })
  }

  async function removeFinalizer(node: GraphNode, finalizer: string): Promise<void> {
    await patchMetadata(node, { finalizers: node.finalizers.filter((name) => name !== finalizer) })
  }

  async function patchMetadata(node: GraphNode, change: object): Promise<void> {
    const { uid, resourceVersion, namespace } = node
    const body = { metadata: { uid, resourceVersion, ...change } }
    await ignoreNotFound(objectsOf(node).patch(node.name, { type: 'merge', body }, { namespace }))
  }

  /** An owner the graph does not know may only not have been seen yet: the server is asked, by uid, before anything goes. */
  async function stateOf(dependent: GraphNode, owner: OwnerReference): Promise<OwnerState> {
    const known = graph.get(owner.uid)
    if (known !== undefined) {
      return known.isDeleting && known.finalizers.includes(foregroundFinalizer) ? 'waiting' : 'solid'
    }
    if (graph.isAbsent(owner.uid)) {
      return 'absent'
    }
    if (dependent.namespace === undefined && findKind(owner.apiVersion, owner.kind)?.namespaced === true) {
      // Nobody can tell which namespace was meant, so nothing is deleted for it.
      return 'solid'
    }
    const isThere = await exists(owner, dependent.namespace)
    if (!isThere) {
      graph.markAbsent(owner.uid)
    }
    return isThere ? 'solid' : 'absent'
  }

  async function exists(
    { apiVersion, kind, name, uid }: OwnerReference,
    namespace: string | undefined,
  ): Promise<boolean> {
    try {
      const { metadata } = await client.object(apiVersion, kind).get(name, { namespace })
      return metadata.uid === uid
    } catch (error) {
      if (isNotFound(error)) {
        return false
      }
      throw error
    }
  }

  function objectsOf({ apiVersion, kind }: GraphNode): ReturnType<KubeClient['object']> {
    return client.object(apiVersion, kind)
  }

  return { collect }
}
