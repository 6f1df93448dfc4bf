import type { Pod, Secret, ServiceAccount } from '@fairlead/kube/types/core-v1'
import { parseDockerAuths } from '@fairlead/oci/registry'
import type { DockerAuth } from '@fairlead/oci/registry'

import type { PodLife } from './pod-life.ts'

/** Where a pod's pull secrets are read. */
export interface PullSecretSources {
  secret(namespace: string, name: string): Promise<Secret | undefined>
  serviceAccount(namespace: string, name: string): Promise<ServiceAccount | undefined>
}

/** The credentials a pod brings along. */
export interface PullSecrets {
  readonly auths: readonly DockerAuth[]
  /** Secrets that are named and cannot be had: the pull goes on without them, as the kubelet's does. */
  readonly missing: readonly string[]
}

/**
 * Reads the imagePullSecrets of a pod; of its service account where it names none, which the API server writes into pods
 * that are created after the account was changed. Throws `FAIRLEAD_OCI_CREDENTIALS` for a secret that cannot be read.
 */
export async function readPullSecrets(pod: Pod, sources: PullSecretSources): Promise<PullSecrets> {
  const namespace = pod.metadata?.namespace ?? 'default'
  const auths: DockerAuth[] = []
  const missing: string[] = []
  for (const name of await secretNames(pod, namespace, sources)) {
    const secret = await sources.secret(namespace, name)
    const text = secret && configOf(secret)
    if (text === undefined) missing.push(name)
    else auths.push(...parseDockerAuths(text, `secret ${namespace}/${name}`))
  }
  return { auths, missing }
}

/** The credentials a pod brings along; what cannot be had is told as an event. */
export async function pullAuths({ pod, context, event }: PodLife): Promise<readonly DockerAuth[]> {
  const { auths, missing } = await readPullSecrets(pod, context.sources)
  if (missing.length > 0) {
    const what = `Unable to retrieve some image pull secrets (${missing.join(', ')})`
    const message = `${what}; attempting to pull the image may not succeed.`
    event('Warning', 'FailedToRetrieveImagePullSecret', message)
  }
  return auths
}

async function secretNames(pod: Pod, namespace: string, sources: PullSecretSources): Promise<string[]> {
  const own = pod.spec?.imagePullSecrets ?? []
  const account = own.length > 0 ? undefined : (pod.spec?.serviceAccountName ?? 'default')
  const named = account === undefined ? own : (await sources.serviceAccount(namespace, account))?.imagePullSecrets
  return (named ?? []).flatMap(({ name }) => (name ? [name] : []))
}

/** The key decides with the type (Kubernetes, "Secrets", "Docker config Secrets"). */
function configOf({ type, data }: Secret): string | undefined {
  const key = { 'kubernetes.io/dockerconfigjson': '.dockerconfigjson', 'kubernetes.io/dockercfg': '.dockercfg' }[
    type ?? ''
  ]
  const value = key === undefined ? undefined : data?.[key]
  return value === undefined ? undefined : Buffer.from(value, 'base64').toString()
}
