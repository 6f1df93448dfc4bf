import type { NamedRuleWithOperations } from '@fairlead/kube/types/admissionregistration-v1'

import type { Resource } from '../resource.ts'
import type { Operation } from './attributes.ts'

/** A request as rules look at it. */
export interface Target {
  readonly operation: Operation
  readonly resource: Resource
  readonly subresource: string
  readonly name: string
}

/** Whether a rule is about a request, taken as one for `resource`. */
export function matchesRule(rule: NamedRuleWithOperations, target: Target, resource: Resource): boolean {
  const { info } = resource
  return (
    includes(rule.operations, target.operation) &&
    includes(rule.apiGroups, info.group) &&
    includes(rule.apiVersions, info.version) &&
    matchesScope(rule.scope, resource) &&
    (rule.resources ?? []).some((pattern) => matchesResource(pattern, info.plural, target.subresource)) &&
    ((rule.resourceNames ?? []).length === 0 || rule.resourceNames?.includes(target.name) === true)
  )
}

/**
 * The resource a request is for in the eyes of `rules`: the one of the URL when a rule names it, else, when the policy
 * is `Equivalent`, another version of the same objects that a rule names. Undefined when no rule is about it.
 */
export function findMatch(
  rules: readonly NamedRuleWithOperations[],
  matchPolicy: string | undefined,
  target: Target,
  equivalents: (resource: Resource) => readonly Resource[],
): Resource | undefined {
  if (rules.some((rule) => matchesRule(rule, target, target.resource))) return target.resource
  if (matchPolicy === 'Exact') return undefined
  for (const rule of rules) {
    const found = equivalents(target.resource).find((resource) => matchesRule(rule, target, resource))
    if (found !== undefined) return found
  }
  return undefined
}

function includes(allowed: readonly string[] | undefined, value: string): boolean {
  return allowed !== undefined && (allowed.includes(value) || allowed.includes('*'))
}

function matchesScope(scope: string | undefined, { info }: Resource): boolean {
  if (scope === undefined || scope === '*') return true
  // A namespace is in no namespace, for all that its requests name one.
  return (scope === 'Namespaced') === info.namespaced
}

// `pods`, `pods/log`, and with asterisks for either part or both.
function matchesResource(pattern: string, plural: string, subresource: string): boolean {
  const at = pattern.indexOf('/')
  const [resource, sub] = at < 0 ? [pattern, ''] : [pattern.slice(0, at), pattern.slice(at + 1)]
  return (resource === '*' || resource === plural) && (sub === '*' || sub === subresource)
}

/** Kinds that admission objects may not decide about: nobody could take them away again. */
export function isExempt({ info }: Resource): boolean {
  return info.group === 'admissionregistration.k8s.io'
}
