import type { KubeObject } from '@fairlead/kube/types'
import type {
  ExpressionWarning,
  MatchResources,
  ValidatingAdmissionPolicy,
} from '@fairlead/kube/types/admissionregistration-v1'

import type { Store } from '../../../storage/store.ts'
import type { Catalogue } from '../../catalogue.ts'
import { compile } from '../../cel/compile.ts'
import { CelSyntaxError, renderIssue } from '../../cel/syntax.ts'
import { dyn } from '../../cel/types.ts'
import type { Type } from '../../cel/types.ts'
import { viewOf } from '../../custom-resources/cel-types.ts'
import { compileSchema } from '../../custom-resources/schema.ts'
import { isEqual } from '../../metadata.ts'
import type { Registry } from '../../registry.ts'
import { knownResource, readObject } from '../../resource.ts'
import type { Resource } from '../../resource.ts'
import { StatusError } from '../../status.ts'
import { policyVariables } from './environment.ts'
import { typeOfDefinition } from './policy-types.ts'
import { compileVariables } from './variables.ts'

type Policy = KubeObject & ValidatingAdmissionPolicy

/** A policy about more kinds than that is checked for the first ones. */
const maxKinds = 10

/** What is wrong with the expressions of a policy for the kinds it names, as far as their schemas tell. */
function checkTypes({ spec }: ValidatingAdmissionPolicy, catalogue: Catalogue): ExpressionWarning[] {
  const resources = resourcesOf(spec?.matchConstraints, catalogue)
  const { variables = [], validations = [], paramKind } = spec ?? {}
  const params =
    paramKind === undefined ? undefined : catalogue.findKind(paramKind.apiVersion ?? '', paramKind.kind ?? '')
  const environments = resources.map((resource) => {
    const object = typeOf(resource)
    const known = new Map(policyVariables).set('object', object).set('oldObject', object)
    if (params !== undefined) known.set('params', typeOf(params))
    return { resource, types: compileVariables(variables, known).types }
  })
  return validations.flatMap(({ expression, messageExpression }, index) =>
    [
      { fieldRef: `spec.validations[${index}].expression`, text: expression },
      { fieldRef: `spec.validations[${index}].messageExpression`, text: messageExpression ?? '' },
    ].flatMap(({ fieldRef, text }) => {
      const issues = text === '' ? [] : environments.flatMap(({ resource, types }) => issueOf(text, resource, types))
      return issues.length === 0 ? [] : [{ fieldRef, warning: issues.join('\n') }]
    }),
  )
}

function issueOf(expression: string, { info }: Resource, types: ReadonlyMap<string, Type>): string[] {
  try {
    compile(expression, types)
    return []
  } catch (error) {
    if (!(error instanceof CelSyntaxError)) throw error
    return [`${info.apiVersion}, Kind=${info.kind}: ${renderIssue(error, expression)}\n`]
  }
}

function typeOf({ info, custom }: Resource): Type {
  if (custom === undefined) return typeOfDefinition(info.definition)
  return viewOf(compileSchema(custom.schema), true)?.type ?? dyn
}

/** The kinds that rules name without asterisks. */
function resourcesOf(constraints: MatchResources | undefined, catalogue: Catalogue): Resource[] {
  const found = new Set<Resource>()
  for (const { apiGroups = [], apiVersions = [], resources = [] } of constraints?.resourceRules ?? []) {
    for (const group of apiGroups) {
      for (const version of apiVersions) {
        for (const plural of resources) {
          const resource = catalogue.find(group === '' ? version : `${group}/${version}`, plural)
          if (resource !== undefined) found.add(resource)
        }
      }
    }
  }
  return [...found].slice(0, maxKinds)
}

const policies = knownResource('admissionregistration.k8s.io', 'v1', 'validatingadmissionpolicies')

/** Keeps the status of policies up to date; returns how to end it. */
export function followPolicies(
  { store, registry, catalogue }: { store: Store; registry: Registry; catalogue: Catalogue },
  onError: (error: unknown) => void,
): () => void {
  let isClosed = false
  const check = async (policy: Policy): Promise<void> => {
    const { name = '', generation = 1 } = policy.metadata
    const expressionWarnings = checkTypes(policy, catalogue)
    const typeChecking = expressionWarnings.length === 0 ? {} : { expressionWarnings }
    const status = { ...policy.status, observedGeneration: generation, typeChecking }
    if (isClosed || isEqual(status, policy.status)) return
    const options = { namespace: '', name, part: 'status', isDryRun: false } as const
    await registry.update(policies, options, (current) =>
      current.metadata.generation === policy.metadata.generation ? { ...current, status } : current,
    )
  }
  const checkEntry = (entry: Parameters<typeof readObject>[1]): void => {
    check(readObject(policies, entry) as Policy).catch((error: unknown) => {
      // Deleted meanwhile: its status is of no interest.
      const isGone = error instanceof StatusError && error.status.code === 404
      if (!isGone && !isClosed) onError(error)
    })
  }
  const subscription = store.subscribe(policies.collection, undefined, ({ operation, entry }) => {
    if (operation === 'put') checkEntry(entry)
  })
  for (const entry of store.list(policies.collection)) checkEntry(entry)
  return () => {
    isClosed = true
    subscription.unsubscribe()
  }
}
