import type { KubeObject } from '@fairlead/kube/types'
import type { ValidatingAdmissionPolicySpec, Validation } from '@fairlead/kube/types/admissionregistration-v1'

import type { Program } from '../../cel/compile.ts'
import type { Catalogue } from '../../catalogue.ts'
import type { Resource } from '../../resource.ts'
import { qualifiedResource, StatusError } from '../../status.ts'
import type { AdmissionAttributes } from '../attributes.ts'
import { compileConditions, compileLoosely } from './conditions.ts'
import type { ConditionContext, Conditions } from './conditions.ts'
import { policyVariables } from './environment.ts'
import { attempt, bindPolicy } from './evaluation.ts'
import { findParams } from './params.ts'
import { matchConstraints } from './policy-source.ts'
import type { ActivePolicy, BindingObject, PolicyObject } from './policy-source.ts'
import { compileVariables } from './variables.ts'
import type { Variables } from './variables.ts'

type Evaluate = Program['evaluate']

/** The expressions of a ValidatingAdmissionPolicy. */
export interface CompiledValidations {
  readonly conditions: Conditions
  readonly variables: Variables
  readonly validations: readonly {
    readonly validation: Validation
    readonly holds: Evaluate
    readonly message: Evaluate | undefined
  }[]
  readonly annotations: readonly { readonly key: string; readonly value: Evaluate }[]
}

export interface PolicyContext extends ConditionContext {
  readonly catalogue: Catalogue
}

export function compileValidations({ spec }: PolicyObject): CompiledValidations {
  const {
    validations = [],
    auditAnnotations = [],
    variables = [],
    matchConditions = [],
  } = (spec ?? {}) as ValidatingAdmissionPolicySpec
  const composed = compileVariables(variables, policyVariables)
  return {
    conditions: compileConditions(matchConditions, policyVariables),
    variables: composed,
    validations: validations.map((validation) => ({
      validation,
      holds: compileLoosely(validation.expression, composed.types),
      message:
        validation.messageExpression === undefined || validation.messageExpression === ''
          ? undefined
          : compileLoosely(validation.messageExpression, composed.types),
    })),
    annotations: auditAnnotations.map(({ key, valueExpression }) => ({
      key,
      value: compileLoosely(valueExpression, composed.types),
    })),
  }
}

/** Why a policy does not want a request. */
interface Finding {
  readonly policy: string
  readonly binding: string
  readonly message: string
  readonly reason: string
  readonly index: number
  readonly actions: readonly string[]
}

/** Asks every policy; throws the refusal of the first that has one, when all have been asked. */
export function validateByPolicies(
  context: PolicyContext,
  policies: readonly ActivePolicy<CompiledValidations>[],
  attributes: AdmissionAttributes,
): void {
  const findings = policies.flatMap((active) => judgeByPolicy(context, active, attributes))
  const audited = findings.filter(({ actions }) => actions.includes('Audit'))
  if (audited.length > 0) attributes.notes.annotate(auditKey, JSON.stringify(audited.map(renderAudited)))
  for (const { policy, binding, message, actions } of findings) {
    if (!actions.includes('Warn')) continue
    attributes.notes.warn(
      `Validation failed for ValidatingAdmissionPolicy '${policy}' with binding '${binding}': ${message}`,
    )
  }
  const denied = findings.find(({ actions }) => actions.includes('Deny'))
  if (denied !== undefined) throw refusal(attributes, denied)
}

const auditKey = 'validation.policy.admission.k8s.io/validation_failure'

function renderAudited({ message, policy, binding, index, actions }: Finding): unknown {
  return { message, policy, binding, expressionIndex: index, validationActions: actions }
}

const codes: Readonly<Record<string, number>> = {
  Unauthorized: 401,
  Forbidden: 403,
  RequestEntityTooLarge: 413,
  Invalid: 422,
}

function refusal({ resource, name }: AdmissionAttributes, finding: Finding): StatusError {
  const { policy, binding, message, reason } = finding
  const why = `ValidatingAdmissionPolicy '${policy}' with binding '${binding}' denied request: ${message}`
  const { info } = resource
  const shown = name === '' ? qualifiedResource(info) : `${qualifiedResource(info)} ${JSON.stringify(name)}`
  const group = info.group === '' ? {} : { group: info.group }
  const details = { name, ...group, kind: info.plural, causes: [{ message: why }] }
  return new StatusError(codes[reason] ?? 422, reason, `${shown} is forbidden: ${why}`, { details })
}

function judgeByPolicy(
  context: PolicyContext,
  { policy, bindings, compiled }: ActivePolicy<CompiledValidations>,
  attributes: AdmissionAttributes,
): Finding[] {
  const matched = matchConstraints(context, policy.spec?.matchConstraints, attributes)
  if (matched === undefined) return []
  return bindings.flatMap((binding) => judgeByBinding(context, { policy, binding, compiled, matched }, attributes))
}

interface Bound {
  readonly policy: PolicyObject
  readonly binding: BindingObject
  readonly compiled: CompiledValidations
  readonly matched: Resource
}

function judgeByBinding(context: PolicyContext, bound: Bound, attributes: AdmissionAttributes): Finding[] {
  const { policy, binding } = bound
  const { matchResources, paramRef } = binding.spec ?? {}
  if (matchResources !== undefined && matchConstraints(context, matchResources, attributes) === undefined) return []
  let params: readonly (KubeObject | undefined)[]
  try {
    params = findParams(context, policy.spec?.paramKind, paramRef, attributes.namespace)
  } catch (error) {
    const why = error instanceof Error ? error.message : String(error)
    return policy.spec?.failurePolicy === 'Ignore' ? [] : [findingOf(bound, `failed to configure binding: ${why}`)]
  }
  return params.flatMap((each) => judgeWithParams(context, bound, attributes, each))
}

function judgeWithParams(
  context: PolicyContext,
  bound: Bound,
  attributes: AdmissionAttributes,
  params: KubeObject | undefined,
): Finding[] {
  const { policy, compiled, matched } = bound
  const { values, meter } = bindPolicy(context, attributes, matched, params, compiled.variables)
  const { failurePolicy } = policy.spec ?? {}
  try {
    if (!compiled.conditions.hold(context, attributes, matched, failurePolicy, values)) return []
  } catch (error) {
    if (!(error instanceof StatusError)) throw error
    return [findingOf(bound, error.message.replace(/^.* is forbidden: /, ''))]
  }
  const findings = compiled.validations.flatMap(({ validation, holds, message }, index) => {
    const result = attempt(() => holds(values, meter))
    if ('failure' in result) {
      if (failurePolicy === 'Ignore') return []
      const text = `expression '${validation.expression}' resulted in error: ${result.failure}`
      return [findingOf(bound, text, undefined, index)]
    }
    if (result.value === true) return []
    const said = message === undefined ? undefined : attempt(() => message(values, meter))
    const worked = said !== undefined && 'value' in said && isMessage(said.value) ? said.value.trim() : undefined
    const given = validation.message?.trim()
    const text = worked ?? (given === undefined || given === '' ? `failed expression: ${validation.expression}` : given)
    return [findingOf(bound, text, validation.reason, index)]
  })
  for (const { key, value } of compiled.annotations) {
    const result = attempt(() => value(values, meter))
    if ('value' in result && typeof result.value === 'string') {
      attributes.notes.annotate(`${policy.metadata.name}/${key}`, result.value)
    } else if ('failure' in result && failurePolicy !== 'Ignore') findings.push(findingOf(bound, result.failure))
  }
  return findings
}

/** A message of several lines, of nothing, or longer than anybody reads counts as none. */
function isMessage(value: unknown): value is string {
  return typeof value === 'string' && value.trim() !== '' && !value.includes('\n') && value.length <= 5 * 1024
}

function findingOf({ policy, binding }: Bound, message: string, reason = 'Invalid', index = 0): Finding {
  return {
    policy: policy.metadata.name ?? '',
    binding: binding.metadata.name ?? '',
    message,
    reason,
    index,
    actions: binding.spec?.validationActions ?? [],
  }
}
