import type { Pod, PodSpec } from '@fairlead/kube/types/core-v1'

/** The kinds of objects a pod may name that its node has to read. */
export type Referenced = 'secrets' | 'configmaps' | 'persistentvolumeclaims' | 'serviceaccounts'

/** `secrets/name` and the like for everything a pod names, all of it in the pod's own namespace. */
export function referencesOf(pod: Pod): Set<string> {
  const found = new Set<string>()
  function add(kind: Referenced, name: string | undefined): void {
    if (name !== undefined && name !== '') found.add(`${kind}/${name}`)
  }
  const { spec } = pod
  if (spec === undefined) return found
  add('serviceaccounts', spec.serviceAccountName)
  for (const { name } of spec.imagePullSecrets ?? []) add('secrets', name)
  addEnvironment(spec, add)
  addVolumes(pod.metadata?.name ?? '', spec, add)
  return found
}

type Add = (kind: Referenced, name: string | undefined) => void

function addEnvironment(spec: PodSpec, add: Add): void {
  const containers = [...spec.containers, ...(spec.initContainers ?? []), ...(spec.ephemeralContainers ?? [])]
  for (const { env = [], envFrom = [] } of containers) {
    for (const { valueFrom } of env) {
      add('secrets', valueFrom?.secretKeyRef?.name)
      add('configmaps', valueFrom?.configMapKeyRef?.name)
    }
    for (const { secretRef, configMapRef } of envFrom) {
      add('secrets', secretRef?.name)
      add('configmaps', configMapRef?.name)
    }
  }
}

function addVolumes(podName: string, spec: PodSpec, add: Add): void {
  for (const volume of spec.volumes ?? []) {
    add('secrets', volume.secret?.secretName)
    add('configmaps', volume.configMap?.name)
    add('persistentvolumeclaims', volume.persistentVolumeClaim?.claimName)
    if (volume.ephemeral !== undefined) add('persistentvolumeclaims', `${podName}-${volume.name}`)
    add('secrets', volume.csi?.nodePublishSecretRef?.name)
    for (const source of volume.projected?.sources ?? []) {
      add('secrets', source.secret?.name)
      add('configmaps', source.configMap?.name)
    }
  }
}
