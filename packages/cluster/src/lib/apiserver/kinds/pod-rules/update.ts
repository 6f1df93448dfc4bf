import type { Container, Pod, PodSpec, Toleration } from '@fairlead/kube/types/core-v1'

import { isEqual } from '../../metadata.ts'
import type { FieldError } from '../../status.ts'
import { forbidden, invalid, required } from '../field-errors.ts'

const immutableMessage =
  'pod updates may not change fields other than `spec.containers[*].image`,`spec.initContainers[*].image`,`spec.activeDeadlineSeconds`,`spec.tolerations` (only additions to existing tolerations),`spec.terminationGracePeriodSeconds` (allow it to be set to 1 if it was previously negative)'

/** What of a pod may become something else, and into what. */
export function validatePodUpdate(object: Pod, old: Pod): FieldError[] {
  const { spec } = object
  const before = old.spec
  if (spec === undefined || before === undefined || isEqual(spec, before)) return []
  const errors: FieldError[] = []
  for (const list of ['containers', 'initContainers'] as const) {
    if (!validateImages(spec[list] ?? [], before[list] ?? [], `spec.${list}`, errors)) return errors
  }
  validateDeadline(spec.activeDeadlineSeconds, before.activeDeadlineSeconds, errors)
  if (!keepsTolerations(spec.tolerations ?? [], before.tolerations ?? [])) {
    errors.push(forbidden('spec.tolerations', 'existing toleration can not be modified except its tolerationSeconds'))
  }
  validateGates(spec, before, errors)
  const isGated = (before.schedulingGates ?? []).length > 0
  if (isGated) validateGated(spec, before, errors)
  if (!isEqual(fixedPart(spec, isGated), fixedPart(kept(spec, before), isGated))) {
    errors.push(forbidden('spec', immutableMessage))
  }
  return errors
}

/** Whether there are as many as before; whoever adds one hears of nothing else. */
function validateImages(
  now: readonly Container[],
  before: readonly Container[],
  path: string,
  errors: FieldError[],
): boolean {
  if (now.length !== before.length) {
    errors.push(forbidden(path, 'pod updates may not add or remove containers'))
    return false
  }
  now.forEach(({ image = '' }, index) => {
    const field = `${path}[${index}].image`
    if (image === '') errors.push(required(field))
  })
  return true
}

function validateDeadline(now: number | undefined, before: number | undefined, errors: FieldError[]): void {
  const field = 'spec.activeDeadlineSeconds'
  if (before === undefined || now === before) return
  if (now === undefined) errors.push(invalid(field, null, 'must not update from a positive integer to nil value'))
  else if (now > before) errors.push(invalid(field, now, 'must be less than or equal to previous value'))
}

function validateGates(spec: PodSpec, before: PodSpec, errors: FieldError[]): void {
  const known = (before.schedulingGates ?? []).map(({ name }) => name)
  spec.schedulingGates?.forEach(({ name }, index) => {
    if (known.includes(name)) return
    const why = `only deletion is allowed, but found new scheduling gate '${name}'`
    errors.push(forbidden(`spec.schedulingGates[${index}].name`, why))
  })
}

/** As long as no scheduler looks at it, a pod may become more particular about its node. */
function validateGated(spec: PodSpec, before: PodSpec, errors: FieldError[]): void {
  const isKept = Object.entries(before.nodeSelector ?? {}).every(([key, value]) => spec.nodeSelector?.[key] === value)
  if (!isKept) {
    const why = 'only additions to spec.nodeSelector are allowed (no mutations or deletions)'
    errors.push(invalid('spec.nodeSelector', spec.nodeSelector, why))
  }
  const terms = requiredTerms(spec)
  const known = requiredTerms(before)
  if (known.length === 0) return
  const field = 'spec.affinity.nodeAffinity.requiredDuringSchedulingIgnoredDuringExecution.nodeSelectorTerms'
  if (terms.length !== known.length) {
    errors.push(invalid(field, terms, 'no additions/deletions to non-empty NodeSelectorTerms list are allowed'))
    return
  }
  terms.forEach((term, index) => {
    const old = known[index] ?? {}
    const isGrown = (['matchExpressions', 'matchFields'] as const).every((key) =>
      (old[key] ?? []).every((each, at) => isEqual(each, term[key]?.[at])),
    )
    if (isGrown) return
    const why = 'only additions are allowed (no mutations or deletions)'
    errors.push(invalid(`${field}[${index}]`, term, why))
  })
}

function requiredTerms({ affinity }: PodSpec) {
  return affinity?.nodeAffinity?.requiredDuringSchedulingIgnoredDuringExecution?.nodeSelectorTerms ?? []
}

/** The spec before, with the one change of the grace period that is allowed. */
function kept(spec: PodSpec, before: PodSpec): PodSpec {
  const { terminationGracePeriodSeconds: grace = 0 } = before
  if (grace >= 0 || spec.terminationGracePeriodSeconds !== 1) return before
  return { ...before, terminationGracePeriodSeconds: 1 }
}

/** The spec without what may change. */
function fixedPart(spec: PodSpec, isGated: boolean): unknown {
  const { activeDeadlineSeconds: _deadline, tolerations: _tolerations, schedulingGates: _gates, ...rest } = spec
  const fixed: Record<string, unknown> = { ...rest, containers: withoutImages(spec.containers ?? []) }
  if (spec.initContainers !== undefined) fixed['initContainers'] = withoutImages(spec.initContainers)
  if (!isGated) return fixed
  const { nodeAffinity: _nodes, ...others } = spec.affinity ?? {}
  delete fixed['nodeSelector']
  delete fixed['affinity']
  return { ...fixed, others }
}

function withoutImages(containers: readonly Container[]): unknown[] {
  return containers.map(({ image: _image, ...container }) => container)
}

function keepsTolerations(now: readonly Toleration[], before: readonly Toleration[]): boolean {
  return before.every((old) => now.some((each) => isEqual(withoutSeconds(each), withoutSeconds(old))))
}

function withoutSeconds({ tolerationSeconds: _seconds, ...toleration }: Toleration): Toleration {
  return toleration
}
