import type { KubeClient } from '@fairlead/kube'
import { systemClock } from '@fairlead/kube/controller'
import type { Clock } from '@fairlead/kube/controller'

import { createContext } from './context.ts'
import type { ContextOptions } from './context.ts'
import { runDeploymentController } from './deployment.ts'
import { runEndpointsController, runEndpointSliceController } from './endpoint.ts'
import { runGarbageCollector } from './garbage-collector.ts'
import { runNamespaceController } from './namespace.ts'
import { runReplicaSetController } from './replica-set.ts'
import { runServiceAccountController } from './service-account.ts'

export interface RunControllersOptions {
  readonly client: KubeClient
  /** PEM of the authority that signed the API server's certificate, published as `kube-root-ca.crt`. */
  readonly caCertificate: string
  readonly signal: AbortSignal
  /** Told of failures that are being retried. Default: nobody. */
  readonly onError?: ContextOptions['onError'] | undefined
  readonly clock?: Clock | undefined
}

/**
 * Runs the controllers that make objects happen: namespaces, service accounts, deployments, replica sets, endpoints and
 * the garbage collector, on one set of informers. Resolves when `signal` aborts and all of them have stopped.
 */
export async function runControllers(options: RunControllersOptions): Promise<void> {
  const { client, signal, onError = () => {}, clock = systemClock } = options
  const context = createContext({ client, signal, onError, clock })
  await Promise.all([
    runNamespaceController(context),
    runServiceAccountController(context, options.caCertificate),
    runDeploymentController(context),
    runReplicaSetController(context),
    runEndpointSliceController(context),
    runEndpointsController(context),
    runGarbageCollector(context),
  ])
}
