import { isDeepStrictEqual } from 'node:util'
import type { KubeObject } from '@fairlead/kube/types'
import { parseQuantity } from '@fairlead/kube/types'
import type { Container, Pod, PodSpec, ResourceRequirements } from '@fairlead/kube/types/core-v1'

import { forbidden, invalid } from './kinds/field-errors.ts'
import { validatePodSpec } from './kinds/pod-validation.ts'
import { qosClass } from './kinds/pod.ts'
import type { FieldError } from './status.ts'

const lists = ['containers', 'initContainers'] as const

/**
 * The spec a write to `pods/resize` asks for: resources and resize policies as asked, all else as it was. Containers that
 * were added, taken away or renamed stay as asked, for {@link validateResize} to refuse.
 */
export function replaceResources(asked: Pod, current: Pod): PodSpec {
  const [wanted, before] = [asked.spec ?? { containers: [] }, current.spec ?? { containers: [] }]
  const isOther = lists.some((list) => (wanted[list] ?? []).length !== (before[list] ?? []).length)
  if (isOther) return wanted
  const spec: PodSpec = { ...before, containers: merge(wanted.containers, before.containers) }
  if (before.initContainers !== undefined) {
    spec.initContainers = merge(wanted.initContainers ?? [], before.initContainers)
  }
  if (wanted.resources !== undefined) spec.resources = wanted.resources
  else delete spec.resources
  return spec
}

function merge(wanted: readonly Container[], before: readonly Container[]): Container[] {
  if (wanted.some(({ name }, index) => name !== before[index]?.name)) return [...wanted]
  return before.map((container, index) => {
    const { resources, resizePolicy } = wanted[index] ?? {}
    return { ...container, resources, ...(resizePolicy === undefined ? {} : { resizePolicy }) }
  })
}

/** What upstream refuses of a resize (`ValidatePodResize`), in its words. */
export function validateResize(object: KubeObject, current: KubeObject): FieldError[] {
  const [{ spec }, old] = [object as Pod, current as Pod]
  if (spec === undefined || old.spec === undefined) return []
  const errors = validatePodSpec(spec, 'spec')
  if (old.metadata?.annotations?.['kubernetes.io/config.mirror'] !== undefined) {
    return [forbidden('', 'static pods cannot be resized')]
  }
  if (qosClass(spec) !== (old.status?.qosClass ?? qosClass(old.spec))) {
    errors.push(invalid('spec', qosClass(spec), 'Pod QOS Class may not change as a result of resizing'))
  }
  if (!isNodeAble(old)) errors.push(forbidden('spec', 'Pod running on node without support for resize'))
  errors.push(...validatePodLevel(spec.resources, old.spec.resources))
  const order = lists.flatMap((list) => validateOrder(list, spec[list] ?? [], old.spec?.[list] ?? []))
  if (order.length > 0) return [...errors, ...order]
  return [...errors, ...lists.flatMap((list) => validateList(list, spec[list] ?? [], old.spec?.[list] ?? []))]
}

/** A node that tells of resources can resize; one that runs nothing yet is given the benefit of the doubt. */
function isNodeAble({ status }: Pod): boolean {
  const running = status?.containerStatuses?.find(({ state }) => state?.running !== undefined)
  return running === undefined || running.resources !== undefined
}

function validatePodLevel(now: ResourceRequirements | undefined, old: ResourceRequirements | undefined): FieldError[] {
  if (old === undefined) return []
  if (now === undefined) return [forbidden('spec.resources', 'pod-level resources cannot be removed')]
  return [
    ...(isRemoved(now.requests, old.requests)
      ? [forbidden('spec.resources.requests', 'pod-level resource requests cannot be removed')]
      : []),
    ...(isRemoved(now.limits, old.limits)
      ? [forbidden('spec.resources.limits', 'pod-level resource limits cannot be removed')]
      : []),
    ...(isDeepStrictEqual(withoutResizable(now), withoutResizable(old))
      ? []
      : [forbidden('spec', 'only cpu and memory resources are mutable at pod-level')]),
  ]
}

function validateOrder(list: string, now: readonly Container[], old: readonly Container[]): FieldError[] {
  if (now.length !== old.length) return [forbidden(`spec.${list}`, `${list} may not be added or removed on resize`)]
  return old.flatMap(({ name }, index) =>
    now[index]?.name === name
      ? []
      : [forbidden(`spec.${list}[${index}].name`, `${list} may not be renamed or reordered on resize`)],
  )
}

function validateList(
  list: (typeof lists)[number],
  now: readonly Container[],
  old: readonly Container[],
): FieldError[] {
  const isInit = list === 'initContainers'
  return old.flatMap((before, index) => {
    const container = now[index] ?? before
    const place = `spec.${list}[${index}]`
    if (isInit && before.restartPolicy !== 'Always') {
      const isSame = isDeepStrictEqual(comparable(container), comparable(before))
      return isSame ? [] : [forbidden('spec', 'resources for non-sidecar init containers are immutable')]
    }
    const [wanted = {}, had = {}] = [container.resources, before.resources]
    const errors: FieldError[] = []
    if (isRemoved(wanted.requests, had.requests))
      errors.push(forbidden(`${place}.resources.requests`, 'resource requests cannot be removed'))
    if (isRemoved(wanted.limits, had.limits))
      errors.push(forbidden(`${place}.resources.limits`, 'resource limits cannot be removed'))
    const isSameRest =
      isDeepStrictEqual(withoutResizable(wanted), withoutResizable(had)) &&
      isDeepStrictEqual(container.resizePolicy, before.resizePolicy)
    if (!isSameRest) errors.push(notMutable(isInit, place))
    return errors
  })
}

function notMutable(isInit: boolean, place: string): FieldError {
  return isInit
    ? forbidden(place, 'only cpu and memory resources for init or sidecar containers are mutable')
    : forbidden('spec', 'only cpu and memory resources are mutable')
}

function isRemoved(now: Readonly<Record<string, string>> = {}, old: Readonly<Record<string, string>> = {}): boolean {
  return Object.keys(old).some((name) => now[name] === undefined)
}

/** Requirements without processor and memory, amounts by their value: "1" and "1000m" are the same. */
function withoutResizable({ requests, limits, ...rest }: ResourceRequirements): unknown {
  return { ...rest, requests: amounts(requests, true), limits: amounts(limits, true) }
}

function comparable({ resources = {}, ...container }: Container): unknown {
  const { requests, limits, ...rest } = resources
  return { ...container, ...rest, requests: amounts(requests, false), limits: amounts(limits, false) }
}

function amounts(list: Readonly<Record<string, string>> = {}, isRest: boolean): unknown {
  const kept = Object.entries(list).filter(([name]) => !isRest || (name !== 'cpu' && name !== 'memory'))
  return Object.fromEntries(kept.map(([name, value]) => [name, parseQuantity(value)]))
}
