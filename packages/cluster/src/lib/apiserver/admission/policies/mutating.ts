import { renderExactJson } from '@fairlead/kube/codec'
import { applyConfiguration, applyJsonPatch } from '@fairlead/kube/patch'
import type { Owned } from '@fairlead/kube/patch'
import type { KubeObject } from '@fairlead/kube/types'
import type { MutatingAdmissionPolicySpec, Mutation } from '@fairlead/kube/types/admissionregistration-v1'

import type { Program } from '../../cel/compile.ts'
import { toJson } from '../../cel/to-json.ts'
import { mergeContextOf } from '../../field-managers/merge-context.ts'
import { renderTime } from '../../metadata.ts'
import type { Resource } from '../../resource.ts'
import { forbiddenObject } from '../../status.ts'
import type { AdmissionAttributes } from '../attributes.ts'
import { toVersion } from '../versioned.ts'
import { compileConditions, compileLoosely } from './conditions.ts'
import type { Conditions } from './conditions.ts'
import { mutationVariables, policyVariables } from './environment.ts'
import { expressionOf } from './mutation-expression.ts'
import { attempt, bindPolicy } from './evaluation.ts'
import { findParams } from './params.ts'
import { matchConstraints } from './policy-source.ts'
import type { ActivePolicy, BindingObject, PolicyObject } from './policy-source.ts'
import type { PolicyContext } from './validating.ts'
import { compileVariables } from './variables.ts'
import type { Variables } from './variables.ts'

/** The expressions of a MutatingAdmissionPolicy. */
export interface CompiledMutations {
  readonly conditions: Conditions
  readonly variables: Variables
  readonly mutations: readonly { readonly mutation: Mutation; readonly change: Program['evaluate'] }[]
}

export function compileMutations({ spec }: PolicyObject): CompiledMutations {
  const { mutations = [], variables = [], matchConditions = [] } = (spec ?? {}) as MutatingAdmissionPolicySpec
  const composed = compileVariables(variables, mutationVariables)
  return {
    conditions: compileConditions(matchConditions, policyVariables),
    variables: composed,
    mutations: mutations.map((mutation) => ({
      mutation,
      change: compileLoosely(expressionOf(mutation), composed.types),
    })),
  }
}

/**
 * Lets policies change an object, in the order of their names. Those that ask for it see it again, once, when one after
 * them has changed it.
 */
export function mutateByPolicies(
  context: PolicyContext,
  policies: readonly ActivePolicy<CompiledMutations>[],
  attributes: AdmissionAttributes,
): KubeObject | undefined {
  let { object } = attributes
  const seen = new Map<PolicyObject, string>()
  for (const active of policies) {
    object = mutateByPolicy(context, active, { ...attributes, object })
    seen.set(active.policy, renderExactJson(object))
  }
  for (const active of policies) {
    const { reinvocationPolicy } = (active.policy.spec ?? {}) as MutatingAdmissionPolicySpec
    if (reinvocationPolicy !== 'IfNeeded' || seen.get(active.policy) === renderExactJson(object)) continue
    object = mutateByPolicy(context, active, { ...attributes, object })
  }
  return object
}

function mutateByPolicy(
  context: PolicyContext,
  { policy, bindings, compiled }: ActivePolicy<CompiledMutations>,
  attributes: AdmissionAttributes,
): KubeObject | undefined {
  let { object } = attributes
  const matched = matchConstraints(context, policy.spec?.matchConstraints, attributes)
  if (matched === undefined || object === undefined) return object
  for (const binding of bindings) {
    const { matchResources } = binding.spec ?? {}
    if (matchResources !== undefined && matchConstraints(context, matchResources, attributes) === undefined) continue
    object = mutateByBinding(context, { policy, binding, compiled, matched }, { ...attributes, object })
  }
  return object
}

interface Bound {
  readonly policy: PolicyObject
  readonly binding: BindingObject
  readonly compiled: CompiledMutations
  readonly matched: Resource
}

function mutateByBinding(context: PolicyContext, bound: Bound, attributes: AdmissionAttributes): KubeObject {
  const { policy, binding, compiled, matched } = bound
  const { failurePolicy, paramKind } = policy.spec ?? {}
  const { resource } = attributes
  let object = attributes.object as KubeObject
  try {
    for (const params of findParams(context, paramKind, binding.spec?.paramRef, attributes.namespace)) {
      for (const { mutation, change } of compiled.mutations) {
        const current = { ...attributes, object }
        const { values, meter } = bindPolicy(context, current, matched, params, compiled.variables)
        if (!compiled.conditions.hold(context, current, matched, failurePolicy, values)) break
        const result = attempt(() => change(values, meter))
        if ('failure' in result) throw new Error(result.failure)
        const versioned = toVersion(object, resource, matched)
        const changed = applyChange(mutation, toJson(result.value), versioned, matched, attributes.subresource)
        object = toVersion(changed, matched, resource)
      }
    }
    return object
  } catch (error) {
    if (failurePolicy === 'Ignore') return object
    const why = error instanceof Error ? error.message : String(error)
    const who = `policy '${policy.metadata.name}' with binding '${binding.metadata.name}' denied request`
    throw forbiddenObject(resource.info, attributes.name, `${who}: ${why}`)
  }
}

function applyChange(
  { patchType }: Mutation,
  change: unknown,
  object: KubeObject,
  resource: Resource,
  subresource: string,
): KubeObject {
  if (patchType === 'JSONPatch') return applyJsonPatch(structuredClone(object), change) as KubeObject
  const { managedFields, ...metadata } = object.metadata
  const { apiVersion, kind } = object
  const { name, namespace } = metadata
  const asked = change as Record<string, unknown>
  const config = {
    ...asked,
    apiVersion,
    kind,
    metadata: { ...(asked['metadata'] as object | undefined), name, namespace },
  }
  const writer = { manager: 'mutating-admission-policy', apiVersion: resource.info.apiVersion, subresource }
  const info = { writer, time: renderTime(Date.now()) }
  // The proof of the casts: an object of the API, as ownership sees it.
  const live = { ...object, metadata } as Owned
  const applied = applyConfiguration(mergeContextOf(resource, subresource), info, live, {
    config,
    kind,
    subject: name ?? '',
    isForced: true,
  }) as KubeObject
  // Nobody owns what a policy changes.
  delete applied.metadata.managedFields
  if (managedFields !== undefined) applied.metadata.managedFields = managedFields
  return applied
}
