import { fromInformer, keyOf, parseKey, runController } from '@fairlead/kube/controller'
import type { Job } from '@fairlead/kube/types/batch-v1'
import type { Pod } from '@fairlead/kube/types/core-v1'

import { byController } from '../context.ts'
import type { ControllerContext } from '../context.ts'
import { controllerOf } from '../ownership.ts'
import { ignoreNotFound } from '../write.ts'
import { finishedCondition, isTracked, jobControllerName, trackingFinalizer } from './job-facts.ts'

/** Lets go the pods that no job counts any more: theirs is gone, or has finished, or they are nobody's. */
export function runJobPodRelease(context: ControllerContext): Promise<void> {
  const { client, informers, clock, signal, onError } = context
  const pods = client.resource('v1/Pod')

  async function reconcile(key: string): Promise<void> {
    const { namespace, name } = parseKey(key)
    const pod = informers.pods.get(namespace, name)
    if (pod === undefined || !isForgotten(pod, jobOf(pod))) return
    const body = { metadata: { uid: pod.metadata?.uid, '$deleteFromPrimitiveList/finalizers': [trackingFinalizer] } }
    await ignoreNotFound(pods.patch(name, { type: 'strategic', body }, { namespace }))
  }

  function jobOf(pod: Pod): Job | undefined {
    const controller = controllerOf(pod)
    const job = controller && informers.jobs.get(pod.metadata?.namespace, controller.name)
    return job?.metadata?.uid === controller?.uid ? job : undefined
  }

  return runController({
    name: 'job-pods',
    sources: [
      // The jobs are known before the first pod is judged: a controller starts when all its sources have told what exists.
      fromInformer(informers.jobs, (job, event) =>
        event === 'delete' || finishedCondition(job) !== undefined
          ? informers.pods
              .byIndex(byController, job.metadata?.uid ?? '')
              .filter(isTracked)
              .map(keyOf)
          : [],
      ),
      fromInformer(informers.pods, (pod) => (isTracked(pod) ? [keyOf(pod)] : [])),
    ],
    reconcile,
    concurrency: 4,
    signal,
    onError,
    clock,
  })
}

/** Whether the finalizer of a pod keeps it for nobody; `job` is its controller, if that is there. */
export function isForgotten(pod: Pod, job: Job | undefined): boolean {
  const controller = controllerOf(pod)
  if (!isTracked(pod)) return false
  if (controller === undefined || job === undefined) return controller === undefined || controller.kind === 'Job'
  const isOurs = (job.spec?.managedBy ?? jobControllerName) === jobControllerName
  return controller.kind === 'Job' && isOurs && finishedCondition(job) !== undefined
}
