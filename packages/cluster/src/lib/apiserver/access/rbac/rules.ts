import type { PolicyRule } from '@fairlead/kube/types/rbac-v1'

import type { Attributes } from '../attributes.ts'

/** Whether one rule of a role allows this (kube-apiserver's RuleAllows). */
export function allows(rule: PolicyRule, asked: Attributes): boolean {
  if (!has(rule.verbs, asked.verb)) return false
  if (asked.path !== undefined) return matchesUrl(rule.nonResourceURLs, asked.path)
  return (
    has(rule.apiGroups, asked.group) &&
    matchesResource(rule.resources, asked.resource, asked.subresource) &&
    matchesName(rule.resourceNames, asked.name)
  )
}

/** Rights of `wanted` that `owned` does not give, broken down to one verb, resource and name each. */
export function missingRights(owned: readonly PolicyRule[], wanted: readonly PolicyRule[]): PolicyRule[] {
  return wanted.flatMap(breakDown).filter((part) => !owned.some((rule) => covers(rule, part)))
}

/** Joins rules that differ in their verbs only: what people can read of {@link missingRights}. */
export function compactRules(rules: readonly PolicyRule[]): PolicyRule[] {
  const simple = new Map<string, PolicyRule>()
  const rest: PolicyRule[] = []
  for (const rule of rules) {
    const { apiGroups = [], resources = [], resourceNames = [], nonResourceURLs = [] } = rule
    if (nonResourceURLs.length > 0 || resourceNames.length > 1 || apiGroups.length !== 1 || resources.length !== 1) {
      rest.push(rule)
      continue
    }
    const key = JSON.stringify([apiGroups, resources, resourceNames])
    const known = simple.get(key)
    if (known === undefined) simple.set(key, { ...rule, verbs: [...rule.verbs] })
    else known.verbs.push(...rule.verbs)
  }
  return [...rest, ...simple.values()]
}

/** `{APIGroups:[""], Resources:["pods"], Verbs:["get"]}`: how upstream prints a rule in its messages. */
export function describeRule(rule: PolicyRule): string {
  const parts: [string, readonly string[] | undefined][] = [
    ['APIGroups', rule.apiGroups],
    ['Resources', rule.resources],
    ['NonResourceURLs', rule.nonResourceURLs],
    ['ResourceNames', rule.resourceNames],
    ['Verbs', rule.verbs],
  ]
  const shown = parts.filter(([, values]) => values !== undefined && values.length > 0)
  return `{${shown.map(([name, values]) => `${name}:${quoteAll(values ?? [])}`).join(', ')}}`
}

/** `["a" "b"]`, as Go prints a list of strings. */
export function quoteAll(values: readonly string[]): string {
  return `[${values.map((value) => JSON.stringify(value)).join(' ')}]`
}

function has(values: readonly string[] | undefined, wanted: string): boolean {
  return values !== undefined && (values.includes(wanted) || values.includes('*'))
}

function matchesResource(values: readonly string[] | undefined, resource: string, subresource: string): boolean {
  if (values === undefined) return false
  const combined = subresource === '' ? resource : `${resource}/${subresource}`
  if (has(values, combined)) return true
  return subresource !== '' && values.includes(`*/${subresource}`)
}

function matchesName(names: readonly string[] | undefined, name: string): boolean {
  return names === undefined || names.length === 0 || names.includes(name)
}

function matchesUrl(urls: readonly string[] | undefined, path: string): boolean {
  return urls?.some((url) => coversUrl(url, path)) ?? false
}

function coversUrl(url: string, path: string): boolean {
  return url === path || (url.endsWith('*') && path.startsWith(url.replace(/\*+$/, '')))
}

function breakDown(rule: PolicyRule): PolicyRule[] {
  const { apiGroups = [], resources = [], resourceNames = [], nonResourceURLs = [], verbs } = rule
  const names = resourceNames.length === 0 ? [undefined] : resourceNames
  const parts: PolicyRule[] = []
  for (const group of apiGroups) {
    for (const resource of resources) {
      for (const verb of verbs) {
        for (const name of names) {
          const part: PolicyRule = { apiGroups: [group], resources: [resource], verbs: [verb] }
          parts.push(name === undefined ? part : { ...part, resourceNames: [name] })
        }
      }
    }
  }
  for (const url of nonResourceURLs) for (const verb of verbs) parts.push({ nonResourceURLs: [url], verbs: [verb] })
  return parts
}

/** Whether `rule` gives everything of `part`, which has at most one of each. */
function covers(rule: PolicyRule, part: PolicyRule): boolean {
  const [verb = ''] = part.verbs
  if (!has(rule.verbs, verb)) return false
  const [url] = part.nonResourceURLs ?? []
  if (url !== undefined) return matchesUrl(rule.nonResourceURLs, url)
  const [group = ''] = part.apiGroups ?? []
  const [resource = ''] = part.resources ?? []
  const [name] = part.resourceNames ?? []
  return has(rule.apiGroups, group) && coversResource(rule.resources ?? [], resource) && coversName(rule, name)
}

function coversResource(values: readonly string[], resource: string): boolean {
  const at = resource.indexOf('/')
  return has(values, resource) || (at >= 0 && values.includes(`*${resource.slice(at)}`))
}

function coversName({ resourceNames = [] }: PolicyRule, name: string | undefined): boolean {
  return resourceNames.length === 0 || (name !== undefined && resourceNames.includes(name))
}
