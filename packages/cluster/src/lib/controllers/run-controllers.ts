import { setImmediate as nextTurn } from 'node:timers/promises'
import type { KubeClient } from '@fairlead/kube'
import { systemClock } from '@fairlead/kube/controller'
import type { Clock } from '@fairlead/kube/controller'

import { actAs, createContext } from './context.ts'
import type { ContextOptions, ControllerContext } from './context.ts'
import { runCertificateSigning } from './certificate-signing.ts'
import type { SignCertificate } from './certificate-signing.ts'
import { runClusterRoleAggregation } from './cluster-role-aggregation.ts'
import { runDeploymentController } from './deployment.ts'
import { runEndpointMirroring } from './endpoint-mirroring.ts'
import { runEndpointsController, runEndpointSliceController } from './endpoint.ts'
import { runGarbageCollector } from './garbage-collector.ts'
import { runHorizontalPodAutoscaler } from './horizontal-pod-autoscaler/horizontal-pod-autoscaler.ts'
import { runNamespaceController } from './namespace.ts'
import { runCronJobController } from './cron-job/cron-job.ts'
import { runNodeLifecycle } from './nodes/node-lifecycle.ts'
import { runNodeTtl } from './nodes/node-ttl.ts'
import { runPodGarbageCollection } from './nodes/pod-garbage.ts'
import { runTaintEviction } from './nodes/taint-eviction.ts'
import { runJobController } from './job/job.ts'
import { runJobPodRelease } from './job/released-pods.ts'
import { runTtlAfterFinished } from './job/ttl-after-finished.ts'
import { runReplicaSetController, runReplicationController } from './replica-set.ts'
import { runRootCertificateController } from './root-certificate.ts'
import { runDaemonSetController } from './daemon-set/daemon-set.ts'
import { runDisruptionController } from './disruption/disruption.ts'
import { runStaleDisruption } from './disruption/stale-disruption.ts'
import { runStatefulSetController } from './stateful-set/stateful-set.ts'
import { runVolumeBinder } from './volumes/binder.ts'
import { runEphemeralClaims } from './volumes/ephemeral-claims.ts'
import { runClaimProtection, runVolumeProtection } from './volumes/protection.ts'
import { runServiceAccountController } from './service-account.ts'
import { runTokenSecretController } from './token-secret.ts'
import type { TokenSecretOptions } from './token-secret.ts'

export interface RunControllersOptions {
  /** Reads what all controllers look at, and writes for those that have no client of their own. */
  readonly client: KubeClient
  /** The client of the service account of a controller, such as `deployment-controller`. Default: `client`. */
  readonly clientFor?: ((account: string) => KubeClient) | undefined
  /** PEM of the authority that signed the API server's certificate, published as `kube-root-ca.crt`. */
  readonly caCertificate: string
  /** Signs what is asked for by CertificateSigningRequests. Default: nothing is signed. */
  readonly signCertificate?: SignCertificate | undefined
  /** Signs tokens for Secrets of the type `kubernetes.io/service-account-token`. Default: these stay as they are. */
  readonly signToken?: TokenSecretOptions['sign'] | undefined
  /** Where volumes of the class `local-path` are made. Default: none are, and their claims wait. */
  readonly volumesDir?: string | undefined
  /** How often autoscalers look. Default 15,000. */
  readonly autoscalerSyncMs?: number | undefined
  readonly signal: AbortSignal
  /** Told of failures that are being retried. Default: nobody. */
  readonly onError?: ContextOptions['onError'] | undefined
  readonly clock?: Clock | undefined
}

/**
 * Runs the controllers that make objects happen: namespaces, service accounts, deployments, replica sets, jobs, cron
 * jobs, endpoints, the life of nodes and the garbage collectors, on one set of informers. Resolves when `signal` aborts
 * and all of them have stopped.
 */
export async function runControllers(options: RunControllersOptions): Promise<void> {
  const { client, signal, onError = () => {}, clock = systemClock, signToken, signCertificate } = options
  const context = createContext({ client, signal, onError, clock })
  const as = (account: string): ControllerContext => actAs(context, options.clientFor?.(account) ?? client)
  await startInTurn([
    () => runNamespaceController(as('namespace-controller')),
    () => runServiceAccountController(as('service-account-controller')),
    () => runRootCertificateController(as('root-ca-cert-publisher'), options.caCertificate),
    () => runClusterRoleAggregation(as('clusterrole-aggregation-controller')),
    ...(signToken === undefined
      ? []
      : [() => runTokenSecretController(context, { caCertificate: options.caCertificate, sign: signToken })]),
    ...(signCertificate === undefined
      ? []
      : [() => runCertificateSigning(as('certificate-controller'), signCertificate)]),
    () => runDeploymentController(as('deployment-controller')),
    () => runReplicaSetController(as('replicaset-controller')),
    () => runReplicationController(as('replication-controller')),
    () => runDaemonSetController(as('daemon-set-controller')),
    () => runDisruptionController(as('disruption-controller')),
    () => runStaleDisruption(as('disruption-controller')),
    () => runStatefulSetController(as('statefulset-controller')),
    () => runVolumeBinder(as('persistent-volume-binder'), { volumesDir: options.volumesDir }),
    () => runClaimProtection(as('pvc-protection-controller')),
    () => runVolumeProtection(as('pv-protection-controller')),
    () => runEphemeralClaims(as('ephemeral-volume-controller')),
    () => runJobController(as('job-controller')),
    () => runJobPodRelease(as('job-controller')),
    () => runCronJobController(as('cronjob-controller')),
    () => runTtlAfterFinished(as('ttl-after-finished-controller')),
    () => runEndpointSliceController(as('endpointslice-controller')),
    () => runEndpointsController(as('endpoint-controller')),
    () => runEndpointMirroring(as('endpointslicemirroring-controller')),
    () => runHorizontalPodAutoscaler(as('horizontal-pod-autoscaler'), { syncMs: options.autoscalerSyncMs }),
    () => runNodeLifecycle(as('node-controller')),
    () => runTaintEviction(as('node-controller')),
    () => runNodeTtl(as('ttl-controller')),
    () => runPodGarbageCollection(as('pod-garbage-collector')),
    () => runGarbageCollector(as('generic-garbage-collector')),
  ])
}

/**
 * Each in a turn of the event loop of its own: what they read first takes 0.1 s for all of them, and whoever waits for the API at the start
 * of a cluster would wait for that.
 */
async function startInTurn(controllers: readonly (() => Promise<void>)[]): Promise<void> {
  let turn = Promise.resolve()
  await Promise.all(
    controllers.map(async (run) => {
      await (turn = turn.then(() => nextTurn()))
      await run()
    }),
  )
}
