import { discoverResources } from '@fairlead/kube'
import type { KubeResource, ServedResource } from '@fairlead/kube'
import { fromInformer, keyOf, runController, setCondition } from '@fairlead/kube/controller'
import type { Namespace, NamespaceCondition } from '@fairlead/kube/types/core-v1'

import type { ControllerContext } from './context.ts'
import { ignoreNotFound, patchStatus } from './write.ts'

/** The finalizer in `spec.finalizers` that keeps a namespace until it is empty. */
const finalizer = 'kubernetes'
/** How soon to look again for objects that finalizers of others hold back; pods report by themselves. */
const recheckMs = 1000

/** What is left of one resource in a namespace that is being deleted. */
export interface Remainder {
  readonly resource: string
  readonly objects: readonly KubeResource[]
}

/**
 * Empties namespaces that are being deleted, then lets them go. Pods go first and the rest only when no pod is left
 * (KEP-5080), so no pod runs without the network policies and secrets it was given.
 */
export function runNamespaceController(context: ControllerContext): Promise<void> {
  const { client, informers, clock, signal, onError } = context
  const namespaces = client.resource('v1/Namespace')

  async function empty(namespace: string, resource: ServedResource): Promise<Remainder> {
    const objects = client.object(resource.apiVersion, resource.kind)
    const found = await objects.list({ namespace, metadataOnly: true })
    const doomed = found.items.filter(({ metadata }) => metadata.deletionTimestamp === undefined)
    await Promise.all(
      doomed.map(({ metadata }) =>
        ignoreNotFound(objects.delete(metadata.name ?? '', { namespace, propagationPolicy: 'Background' })),
      ),
    )
    const left = found.items.length === 0 ? found : await objects.list({ namespace, metadataOnly: true })
    return { resource: renderResource(resource), objects: left.items }
  }

  async function emptyAll(name: string): Promise<Remainder[]> {
    const failures: unknown[] = []
    const resources = await discoverResources(client, { onError: (error) => failures.push(error), signal })
    const deletable = resources.filter(
      ({ namespaced, verbs }) => namespaced && verbs.includes('list') && verbs.includes('delete'),
    )
    const pods = await Promise.all(deletable.filter(isPods).map((resource) => empty(name, resource)))
    if (pods.some(({ objects }) => objects.length > 0)) {
      return pods
    }
    const rest = await Promise.all(deletable.filter((one) => !isPods(one)).map((one) => empty(name, one)))
    if (failures.length > 0) {
      // Objects of an API that is down would be left behind.
      throw failures[0]
    }
    return rest.filter(({ objects }) => objects.length > 0)
  }

  async function reconcile(name: string): Promise<{ requeueAfterMs: number } | undefined> {
    const namespace = informers.namespaces.get(undefined, name)
    if (namespace?.metadata?.deletionTimestamp === undefined || !hasFinalizer(namespace)) {
      return undefined
    }
    const left = await emptyAll(name)
    if (left.length === 0) {
      await ignoreNotFound(namespaces.update(withoutFinalizer(namespace), { subresource: 'finalize' }))
      return undefined
    }
    const conditions = describeRemainder(namespace.status?.conditions, left, clock.now())
    if (conditions !== namespace.status?.conditions) {
      await patchStatus(namespaces, namespace, { conditions })
    }
    return { requeueAfterMs: recheckMs }
  }

  return runController({
    name: 'namespace',
    sources: [
      fromInformer(informers.namespaces, (namespace) => [keyOf(namespace)]),
      fromInformer(informers.pods, ({ metadata }, event) => (event === 'delete' ? [metadata?.namespace ?? ''] : [])),
    ],
    reconcile,
    signal,
    onError,
    clock,
  })
}

function isPods({ apiVersion, plural }: ServedResource): boolean {
  return apiVersion === 'v1' && plural === 'pods'
}

function hasFinalizer({ spec }: Namespace): boolean {
  return spec?.finalizers?.includes(finalizer) === true
}

function withoutFinalizer(namespace: Namespace): Namespace {
  const finalizers = (namespace.spec?.finalizers ?? []).filter((name) => name !== finalizer)
  // Without its version: whatever else changed, an empty namespace may go.
  return {
    ...namespace,
    metadata: { ...namespace.metadata, resourceVersion: undefined },
    spec: { ...namespace.spec, finalizers },
  }
}

function renderResource({ group, plural }: ServedResource): string {
  return group === '' ? plural : `${plural}.${group}`
}

/** The conditions by which `kubectl describe namespace` tells why it is still there. */
export function describeRemainder(
  conditions: readonly NamespaceCondition[] | undefined,
  left: readonly Remainder[],
  now: number,
): readonly NamespaceCondition[] {
  const resources = left.map(({ resource, objects }) => `${resource} has ${objects.length} resource instances`)
  const counts = new Map<string, number>()
  for (const name of left.flatMap(({ objects }) => objects.flatMap(({ metadata }) => metadata?.finalizers ?? []))) {
    counts.set(name, (counts.get(name) ?? 0) + 1)
  }
  const finalizers = [...counts].map(([name, count]) => `${name} in ${count} resource instances`)
  const fine = { status: 'False' } as const
  const found: readonly Omit<NamespaceCondition, 'lastTransitionTime'>[] = [
    {
      type: 'NamespaceContentRemaining',
      status: 'True',
      reason: 'SomeResourcesRemain',
      message: `Some resources are remaining: ${resources.join(', ')}`,
    },
    finalizers.length > 0
      ? {
          type: 'NamespaceFinalizersRemaining',
          status: 'True',
          reason: 'SomeFinalizersRemain',
          message: `Some content in the namespace has finalizers remaining: ${finalizers.join(', ')}`,
        }
      : {
          type: 'NamespaceFinalizersRemaining',
          ...fine,
          reason: 'ContentHasNoFinalizers',
          message: 'All content-preserving finalizers finished',
        },
    {
      type: 'NamespaceDeletionDiscoveryFailure',
      ...fine,
      reason: 'ResourcesDiscovered',
      message: 'All resources successfully discovered',
    },
    {
      type: 'NamespaceDeletionGroupVersionParsingFailure',
      ...fine,
      reason: 'ParsedGroupVersions',
      message: 'All legacy kube types successfully parsed',
    },
    {
      type: 'NamespaceDeletionContentFailure',
      ...fine,
      reason: 'ContentDeleted',
      message: 'All content successfully deleted, may be waiting on finalization',
    },
  ]
  let all = conditions ?? []
  for (const condition of found) all = setCondition<NamespaceCondition>(all, condition, now)
  return all
}
