/**
 * Controllers: work queues, the reconcile loop, leader election, events and conditions.
 *
 * ```ts no-run
 * import { connectKube } from '@fairlead/kube'
 * import { createInformer } from '@fairlead/kube/cache'
 * import { fromInformer, keyOf, runController } from '@fairlead/kube/controller'
 *
 * const { signal } = new AbortController()
 * const pods = createInformer(connectKube().resource('v1/Pod'), { signal })
 * await runController({
 *   name: 'pods',
 *   sources: [fromInformer(pods, (pod) => [keyOf(pod)])],
 *   reconcile: async (key) => console.log(key),
 *   signal,
 * })
 * ```
 */
export { pause, renderTime, systemClock } from './lib/controller/clock.ts'
export type { Clock } from './lib/controller/clock.ts'
export { findCondition, setCondition } from './lib/controller/condition.ts'
export type { ConditionLike } from './lib/controller/condition.ts'
export { createEventRecorder, toReference } from './lib/controller/event-recorder.ts'
export type { EventDetails, EventRecorder, EventRecorderOptions } from './lib/controller/event-recorder.ts'
export { runAsLeader } from './lib/controller/run-as-leader.ts'
export type { LeaderOptions } from './lib/controller/run-as-leader.ts'
export { runManager } from './lib/controller/run-manager.ts'
export type { ManagedController, ManagerOptions } from './lib/controller/run-manager.ts'
export { fromInformer, keyOf, parseKey, runController } from './lib/controller/run-controller.ts'
export type { ControllerOptions, ReconcileResult, Source } from './lib/controller/run-controller.ts'
export { createWorkQueue } from './lib/controller/work-queue.ts'
export type { WorkQueue, WorkQueueOptions } from './lib/controller/work-queue.ts'
