import { createKubeClient } from '@fairlead/kube'
import type { KubeClient, KubeResource, ResourceClient } from '@fairlead/kube'
import { renderTime } from '@fairlead/kube/controller'
import type { Clock } from '@fairlead/kube/controller'
import type { Deployment } from '@fairlead/kube/types/apps-v1'
import type { Node, Pod } from '@fairlead/kube/types/core-v1'

import { createApiServer } from '../../apiserver/server.ts'
import { runScheduler } from '../../scheduler/run-scheduler.ts'
import { openStore } from '../../storage/store.ts'
import { runControllers } from '../run-controllers.ts'

/** An API server in memory with all controllers at work on it, and by request the scheduler. Nobody runs pods: tests say what becomes of them. */
export interface Workbench extends AsyncDisposable {
  readonly client: KubeClient
  /** Failures the controllers reported. */
  readonly errors: string[]
}

export async function openWorkbench(
  options: { readonly scheduler?: boolean; readonly clock?: Clock; readonly volumesDir?: string } = {},
): Promise<Workbench> {
  const store = await openStore({ dir: '', durability: 'memory' })
  const server = createApiServer({ store })
  const client = createKubeClient({ transport: server.transport({ user: 'admin', groups: ['system:masters'] }) })
  const clientOf = (user: string, groups: readonly string[] = []): KubeClient =>
    createKubeClient({ transport: server.transport({ user, groups }) })
  // With the rights they have in a cluster, so that a role that lacks one is found out here.
  const serviceAccounts = ['system:serviceaccounts', 'system:serviceaccounts:kube-system']
  const manager = {
    client: clientOf('system:kube-controller-manager'),
    clientFor: (name: string) => clientOf(`system:serviceaccount:kube-system:${name}`, serviceAccounts),
  }
  const stop = new AbortController()
  const errors: string[] = []
  const onError = (error: unknown, { controller }: { controller: string }): void => {
    errors.push(`${controller}: ${error instanceof Error ? error.message : String(error)}`)
  }
  const { signal } = stop
  const running = [runControllers({ ...manager, ...options, caCertificate: 'PEM', signal, onError })]
  if (options.scheduler === true) {
    running.push(runScheduler({ client: clientOf('system:kube-scheduler'), signal, onError }))
  }
  return {
    client,
    errors,
    async [Symbol.asyncDispose]() {
      stop.abort()
      await Promise.all(running)
      await server.close()
      await store.close()
    },
  }
}

/** How long a test waits for what it expects. */
const patienceMs = 30_000

/** Asks until `ask` gives something; fails with `what` when that does not happen. */
export async function eventually<T>(what: string, ask: () => Promise<T | undefined | false>): Promise<T> {
  const until = Date.now() + patienceMs
  for (;;) {
    const answer = await ask()
    if (answer !== undefined && answer !== false) {
      return answer
    }
    if (Date.now() > until) {
      throw new Error(`waited in vain: ${what}`)
    }
    await new Promise((resolve) => setTimeout(resolve, 2))
  }
}

export async function namesOf<T extends KubeResource>(
  objects: ResourceClient<T>,
  namespace: string,
): Promise<string[]> {
  const { items } = await objects.list({ namespace })
  return items.map(({ metadata }) => metadata?.name ?? '')
}

export function deployment(name: string, change: Partial<NonNullable<Deployment['spec']>> = {}): Deployment {
  const labels = { app: name }
  return {
    metadata: { name, namespace: 'default', labels },
    spec: {
      replicas: 3,
      progressDeadlineSeconds: 600,
      selector: { matchLabels: labels },
      template: { metadata: { labels }, spec: { containers: [{ name: 'app', image: 'app:1' }] } },
      ...change,
    },
  }
}

export function node(name: string, cpu = '4'): Node {
  return {
    metadata: { name },
    status: {
      allocatable: { cpu, memory: '8Gi', pods: '110' },
      conditions: [{ type: 'Ready', status: 'True', lastTransitionTime: renderTime(Date.now()) }],
    },
  }
}

let lastAddress = 0

/** Plays the node agent: marks pods as running, with an address, and ready or not. */
export async function reportPod(client: KubeClient, { metadata }: Pod, ready: boolean): Promise<void> {
  lastAddress += 1
  const podIP = `10.0.${lastAddress >> 8}.${lastAddress & 255}`
  const lastTransitionTime = renderTime(Date.now())
  const conditions = [{ type: 'Ready', status: ready ? 'True' : 'False', lastTransitionTime }]
  const status = { phase: 'Running', podIP, podIPs: [{ ip: podIP }], conditions }
  await client
    .resource('v1/Pod')
    .patch(
      metadata?.name ?? '',
      { type: 'merge', body: { status } },
      { namespace: metadata?.namespace, subresource: 'status' },
    )
}

/** Plays a node agent that runs whatever it is given at once and lets go whatever is deleted, until `signal` aborts. */
export async function runPods(client: KubeClient, signal: AbortSignal): Promise<void> {
  const pods = client.resource('v1/Pod')
  try {
    for await (const { type, object } of pods.watch({ allNamespaces: true, sendInitialEvents: true, signal })) {
      const { name = '', namespace, deletionTimestamp } = object.metadata ?? {}
      if (type === 'DELETED' || type === 'BOOKMARK') {
        continue
      }
      if (deletionTimestamp !== undefined) {
        await pods.delete(name, { namespace, gracePeriodSeconds: 0 }).catch(() => {})
      } else if (object.status?.podIP === undefined) {
        await reportPod(client, object, true).catch(() => {})
      }
    }
  } catch (error) {
    if (!signal.aborted) {
      throw error
    }
  }
}
