import type { Job } from '@fairlead/kube/types/batch-v1'
import type { Container, Pod } from '@fairlead/kube/types/core-v1'

import { controllerReference } from '../ownership.ts'
import { completionIndexKey } from './indexes.ts'
import { failureCountKey, failuresAfter, ignoredFailureCountKey, trackingFinalizer } from './job-facts.ts'

const indexVariable = 'JOB_COMPLETION_INDEX'
/** What the server leaves of a prefix before it appends five letters. */
const maxPrefixLength = 58

/** A pod of the job's template; the server completes the name. */
export function renderPod(job: Job, index: number | undefined, replaced: Pod | undefined): Pod {
  const { name = '', namespace } = job.metadata ?? {}
  const template = job.spec?.template
  const finalizers = template?.metadata?.finalizers ?? []
  const pod: Pod = {
    apiVersion: 'v1',
    kind: 'Pod',
    metadata: {
      generateName: `${name}-`,
      namespace,
      labels: { ...template?.metadata?.labels },
      annotations: { ...template?.metadata?.annotations },
      finalizers: finalizers.includes(trackingFinalizer) ? [...finalizers] : [...finalizers, trackingFinalizer],
      ownerReferences: [controllerReference(job)],
    },
    spec: template?.spec,
  }
  return index === undefined ? pod : withIndex(pod, job, { index, replaced })
}

function withIndex(pod: Pod, job: Job, options: { readonly index: number; readonly replaced: Pod | undefined }): Pod {
  const { index, replaced } = options
  const { name = '' } = job.metadata ?? {}
  const suffix = `-${index}-`
  const { containers = [], initContainers } = pod.spec ?? {}
  return {
    ...pod,
    metadata: {
      ...pod.metadata,
      generateName: `${name.slice(0, maxPrefixLength - suffix.length)}${suffix}`,
      labels: { ...pod.metadata?.labels, [completionIndexKey]: String(index) },
      annotations: {
        ...pod.metadata?.annotations,
        [completionIndexKey]: String(index),
        ...(job.spec?.backoffLimitPerIndex !== undefined && failureAnnotations(job, replaced)),
      },
    },
    spec: {
      ...pod.spec,
      hostname: `${name}-${index}`,
      containers: containers.map(withIndexVariable),
      ...(initContainers !== undefined && { initContainers: initContainers.map(withIndexVariable) }),
    },
  }
}

function failureAnnotations(job: Job, replaced: Pod | undefined): Record<string, string> {
  const { counted, ignored } = failuresAfter(job, replaced)
  return {
    [failureCountKey]: String(counted),
    ...(ignored > 0 && { [ignoredFailureCountKey]: String(ignored) }),
  }
}

function withIndexVariable(container: Container): Container {
  const { env = [] } = container
  if (env.some(({ name }) => name === indexVariable)) return container
  const fieldRef = { fieldPath: `metadata.labels['${completionIndexKey}']` }
  return { ...container, env: [...env, { name: indexVariable, valueFrom: { fieldRef } }] }
}
