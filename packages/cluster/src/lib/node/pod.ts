import { createHash } from 'node:crypto'
import { isDeepStrictEqual } from 'node:util'
import { parseQuantity } from '@fairlead/kube/types'
import type { Container, ContainerStatus, Pod, ResourceRequirements, Volume } from '@fairlead/kube/types/core-v1'

/**
 * What a container is to its pod: `init` runs to its end before the next starts, `sidecar` is an init container that
 * stays (restartPolicy Always), `main` is what the pod is for, `ephemeral` was added to look into a pod that runs.
 */
export type ContainerRole = 'init' | 'sidecar' | 'main' | 'ephemeral'

export type RestartPolicy = 'Always' | 'OnFailure' | 'Never'

/** Exit codes after which a container starts again whatever its policy says. */
export interface RestartRule {
  readonly operator: 'In' | 'NotIn'
  readonly values: readonly number[]
}

/** A container of a pod with its place in it. */
export interface PodContainer {
  readonly container: Container
  readonly role: ContainerRole
  readonly restartPolicy: RestartPolicy
  readonly restartRules?: readonly RestartRule[] | undefined
}

/** The containers of a pod in the order they start. */
export function containersOf(pod: Pod): readonly PodContainer[] {
  const policy = restartPolicyOf(pod.spec ?? {}, 'Always')
  const first = (pod.spec?.initContainers ?? []).map((container): PodContainer => {
    if (container.restartPolicy === 'Always') return { container, role: 'sidecar', restartPolicy: 'Always' }
    // An init container that has succeeded is done, whatever the pod says.
    const own = restartPolicyOf(container, policy)
    return { container, role: 'init', restartPolicy: own === 'Never' ? 'Never' : 'OnFailure', ...rulesOf(container) }
  })
  const main = (pod.spec?.containers ?? []).map((container): PodContainer => ({
    container,
    role: 'main',
    restartPolicy: restartPolicyOf(container, policy),
    ...rulesOf(container),
  }))
  const added = (pod.spec?.ephemeralContainers ?? []).map((container): PodContainer => ({
    container: container as Container,
    role: 'ephemeral',
    restartPolicy: 'Never',
  }))
  return [...first, ...main, ...added]
}

/** What a pod, or a container of it, says itself. */
function restartPolicyOf(
  { restartPolicy }: { restartPolicy?: string | undefined },
  other: RestartPolicy,
): RestartPolicy {
  const isKnown = restartPolicy === 'Never' || restartPolicy === 'OnFailure' || restartPolicy === 'Always'
  return isKnown ? restartPolicy : other
}

function rulesOf({ restartPolicyRules = [] }: Container): Pick<PodContainer, 'restartRules'> {
  const restartRules = restartPolicyRules.flatMap(({ action, exitCodes }): RestartRule[] => {
    if (action !== 'Restart' || exitCodes === undefined) return []
    return [{ operator: exitCodes.operator === 'NotIn' ? 'NotIn' : 'In', values: exitCodes.values ?? [] }]
  })
  return restartRules.length === 0 ? {} : { restartRules }
}

/** `namespace/name`, for messages. */
export function nameOf(pod: Pod): string {
  return `${pod.metadata?.namespace ?? 'default'}/${pod.metadata?.name ?? ''}`
}

export function uidOf(pod: Pod): string {
  return pod.metadata?.uid ?? ''
}

/** Changes when a running container no longer is what the pod asks for: only the image of a pod can change. */
export function fingerprintOf(container: Container): string {
  return createHash('sha256')
    .update(`${container.name}\0${container.image ?? ''}`)
    .digest('hex')
    .slice(0, 16)
}

/**
 * The quality of service class by requests and limits of all containers, or of the pod as a whole where it has some
 * (Kubernetes, "Pod Quality of Service Classes"). The API server's word counts: it does not change in a pod's life.
 */
export function qosClassOf(pod: Pod): 'Guaranteed' | 'Burstable' | 'BestEffort' {
  const told = pod.status?.qosClass
  if (told === 'Guaranteed' || told === 'Burstable' || told === 'BestEffort') return told
  const own = containersOf(pod).filter(({ role }) => role !== 'ephemeral')
  const whole = pod.spec?.resources
  const all = isBare(whole) ? own.map(({ container }) => container.resources ?? {}) : [whole ?? {}]
  if (all.every(isBare)) return 'BestEffort'
  const isGuaranteed = all.every(({ requests, limits }) =>
    ['cpu', 'memory'].every((name) => {
      const limit = limits?.[name]
      return limit !== undefined && parseQuantity(requests?.[name] ?? limit) === parseQuantity(limit)
    }),
  )
  return isGuaranteed ? 'Guaranteed' : 'Burstable'
}

function isBare(resources: ResourceRequirements | undefined): boolean {
  return [resources?.requests, resources?.limits].every(
    (list) => list?.['cpu'] === undefined && list?.['memory'] === undefined,
  )
}

/** The names of objects a pod's volumes and environment come from. */
export function sourcesOf(pod: Pod): {
  readonly configMaps: ReadonlySet<string>
  readonly secrets: ReadonlySet<string>
} {
  const configMaps = new Set<string>()
  const secrets = new Set<string>()
  const add = (set: Set<string>, name: string | undefined): void => void (name && set.add(name))
  const visit = ({ configMap, secret, projected }: Volume): void => {
    add(configMaps, configMap?.name)
    add(secrets, secret?.secretName)
    for (const source of projected?.sources ?? []) {
      add(configMaps, source.configMap?.name)
      add(secrets, source.secret?.name)
    }
  }
  for (const volume of pod.spec?.volumes ?? []) visit(volume)
  return { configMaps, secrets }
}

/** The status the API holds for a container, if any. */
export function knownStatus(pod: Pod, name: string): ContainerStatus | undefined {
  const { containerStatuses = [], initContainerStatuses = [], ephemeralContainerStatuses = [] } = pod.status ?? {}
  return [...containerStatuses, ...initContainerStatuses, ...ephemeralContainerStatuses].find(
    (status) => status.name === name,
  )
}

/** Whether a volume of the pod shows its labels or annotations, and these differ from those of `before`. */
export function hasOtherFields({ metadata, spec }: Pod, { metadata: before }: Pod): boolean {
  const isShown = spec?.volumes?.some(
    ({ downwardAPI, projected }) => downwardAPI ?? projected?.sources?.some((source) => source.downwardAPI),
  )
  if (isShown !== true) return false
  const shown = [metadata?.labels, metadata?.annotations]
  return !isDeepStrictEqual(shown, [before?.labels, before?.annotations])
}
