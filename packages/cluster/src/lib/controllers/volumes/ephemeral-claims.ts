import { fromInformer, keyOf, parseKey, runController } from '@fairlead/kube/controller'
import type { PersistentVolumeClaim, Pod, Volume } from '@fairlead/kube/types/core-v1'

import type { ControllerContext } from '../context.ts'
import { isPodTerminal } from '../pod-state.ts'
import { controllerOf, controllerReference } from '../ownership.ts'
import { ignoreExists } from '../write.ts'

/** Makes the claims of generic ephemeral volumes, which live and end with their pod (KEP-1698). */
export function runEphemeralClaims(context: ControllerContext): Promise<void> {
  const { client, informers, clock, signal, onError } = context
  const claims = client.resource('v1/PersistentVolumeClaim')
  const recorder = context.recorder('ephemeral_volume')

  async function reconcile(key: string): Promise<void> {
    const { namespace, name } = parseKey(key)
    const pod = informers.pods.get(namespace, name)
    if (pod === undefined || pod.metadata?.deletionTimestamp !== undefined || isPodTerminal(pod)) return
    for (const claim of ephemeralClaims(pod)) {
      const found = informers.claims.get(namespace, claim.metadata?.name ?? '')
      if (found === undefined) await ignoreExists(claims.create(claim))
      else if (controllerOf(found)?.uid !== pod.metadata?.uid) {
        const message = `PVC ${namespace}/${found.metadata?.name} was not created for pod ${namespace}/${name} (pod is not owner)`
        recorder.record(pod, { type: 'Warning', reason: 'FailedBinding', message: `ephemeral volume: ${message}` })
        throw new Error(message)
      }
    }
  }

  return runController({
    name: 'ephemeral-volume',
    sources: [
      fromInformer(informers.claims, (claim, event) => {
        const owner = event === 'delete' ? controllerOf(claim) : undefined
        return owner?.kind === 'Pod' ? [`${claim.metadata?.namespace ?? ''}/${owner.name}`] : []
      }),
      fromInformer(informers.pods, (pod) => (pod.spec?.volumes?.some(isEphemeral) === true ? [keyOf(pod)] : [])),
    ],
    reconcile,
    signal,
    onError,
    clock,
  })
}

function isEphemeral({ ephemeral }: Volume): boolean {
  return ephemeral?.volumeClaimTemplate !== undefined
}

function ephemeralClaims(pod: Pod): PersistentVolumeClaim[] {
  const owner = controllerReference({ ...pod, apiVersion: 'v1', kind: 'Pod' })
  return (pod.spec?.volumes ?? []).flatMap(({ name, ephemeral }): PersistentVolumeClaim[] => {
    const template = ephemeral?.volumeClaimTemplate
    if (template === undefined) return []
    const { labels, annotations } = template.metadata ?? {}
    const metadata = {
      name: `${pod.metadata?.name ?? ''}-${name}`,
      namespace: pod.metadata?.namespace,
      labels: { ...labels },
      annotations: { ...annotations },
      ownerReferences: [owner],
    }
    return [{ apiVersion: 'v1', kind: 'PersistentVolumeClaim', metadata, spec: template.spec }]
  })
}
