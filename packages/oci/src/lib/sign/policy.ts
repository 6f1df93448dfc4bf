import { matchesGlob } from 'node:path'

import { predicateTypes, toPredicateType } from '../attest/statement.ts'
import { imagePolicyInvalid } from '../errors.ts'
import { parseReference } from '../spec/reference.ts'
import type { Evidence } from './evidence.ts'
import type { VerificationKey } from './keys.ts'

/** Which images may run. The first rule that names an image decides about it. */
export interface ImagePolicy {
  /** Where it came from, for messages. */
  source: string
  /** Keys by the names that rules use. */
  keys: ReadonlyMap<string, VerificationKey>
  rules: readonly ImageRule[]
  /** What happens to images that no rule names. */
  otherwise: 'allow' | 'refuse'
}

/** What images need. */
export interface ImageRule {
  /** Globs over `registry/repository`, such as `localhost/shop/*` or `registry.example/**`. */
  images: readonly string[]
  /** Statements that must all be there, each signed by one of its keys. Empty: nothing is needed. */
  needs: readonly { predicateType: string; signedBy: readonly string[] }[]
}

/** Whether an image may run; `reason` is why not. */
export type ImageDecision = { isAllowed: true } | { isAllowed: false; reason: string }

/** Loads a key that a policy names: a file or `env://NAME`; a relative file is beside the policy. */
export type PolicyKeyLoader = (source: string) => Promise<VerificationKey>

/**
 * Reads a policy from a parsed JSON or YAML file. Throws `FAIRLEAD_OCI_IMAGE_POLICY` with everything that is wrong with
 * it.
 */
export async function parseImagePolicy(
  value: unknown,
  options: { source: string; loadKey: PolicyKeyLoader },
): Promise<ImagePolicy> {
  const faults: string[] = []
  const root = recordOf(value, 'it', faults, ['keys', 'rules', 'otherwise'])
  const keys = new Map<string, VerificationKey>()
  for (const [name, source] of Object.entries(recordOf(root['keys'] ?? {}, '"keys"', faults))) {
    if (typeof source !== 'string') faults.push(`the key "${name}" is no text`)
    else
      await options.loadKey(source).then(
        (key) => keys.set(name, key),
        (error: Error) => faults.push(error.message),
      )
  }
  const named = Object.keys(recordOf(root['keys'] ?? {}, '"keys"', []))
  const rules = Array.isArray(root['rules']) ? root['rules'] : []
  if (!Array.isArray(root['rules'])) faults.push('"rules" is no list')
  const otherwise = root['otherwise'] ?? 'refuse'
  if (otherwise !== 'allow' && otherwise !== 'refuse') faults.push('"otherwise" is neither "allow" nor "refuse"')
  const parsed = rules.map((rule: unknown, index) => parseRule(rule, `rule ${index + 1}`, named, faults))
  if (faults.length > 0) throw imagePolicyInvalid(options.source, faults)
  return { source: options.source, keys, rules: parsed, otherwise: otherwise === 'allow' ? 'allow' : 'refuse' }
}

/** The rule for an image; `undefined` when none names it. */
export function findImageRule(policy: ImagePolicy, reference: string): ImageRule | undefined {
  const { registry, repository } = parseReference(reference)
  const name = `${registry}/${repository}`
  return policy.rules.find(({ images }) => images.some((pattern) => matchesGlob(name, pattern)))
}

/** Decides about an image by what was verified about it; looks at nothing else. */
export function decideImage(policy: ImagePolicy, reference: string, evidence: readonly Evidence[]): ImageDecision {
  const rule = findImageRule(policy, reference)
  if (!rule) {
    if (policy.otherwise === 'allow') return { isAllowed: true }
    return { isAllowed: false, reason: `no rule of ${policy.source} names it, and others are refused` }
  }
  const lacking = rule.needs.filter(({ predicateType, signedBy }) => {
    const hints = signedBy.map((name) => policy.keys.get(name)?.hint)
    return !evidence.some((each) => each.predicateType === predicateType && hints.includes(each.key.hint))
  })
  if (lacking.length === 0) return { isAllowed: true }
  return {
    isAllowed: false,
    reason: `it has ${lacking.map(describeNeed).join(' and ')}, which ${policy.source} asks for`,
  }
}

function describeNeed({ predicateType, signedBy }: ImageRule['needs'][number]): string {
  const what = predicateType === predicateTypes.signature ? 'no signature' : `no attestation of type ${predicateType}`
  const names = signedBy.map((name) => `"${name}"`).join(' or ')
  return `${what} by the key ${names}`
}

function parseRule(value: unknown, name: string, keys: readonly string[], faults: string[]): ImageRule {
  const rule = recordOf(value, name, faults, ['images', 'signedBy', 'attestations'])
  const images = namesOf(rule['images'], `"images" of ${name}`, faults)
  if (images.length === 0) faults.push(`"images" of ${name} is empty`)
  const needs: { predicateType: string; signedBy: readonly string[] }[] = []
  if (rule['signedBy'] !== undefined) {
    needs.push({ predicateType: predicateTypes.signature, signedBy: keysOf(rule['signedBy'], name, keys, faults) })
  }
  const attestations = rule['attestations'] ?? []
  if (!Array.isArray(attestations)) faults.push(`"attestations" of ${name} is no list`)
  for (const each of Array.isArray(attestations) ? (attestations as unknown[]) : []) {
    const { type, signedBy } = recordOf(each, `an attestation of ${name}`, faults, ['type', 'signedBy'])
    const predicateType = typeof type === 'string' ? toPredicateType(type) : undefined
    if (predicateType === undefined) faults.push(`${name} asks for an attestation of type ${JSON.stringify(type)}`)
    needs.push({ predicateType: predicateType ?? '', signedBy: keysOf(signedBy, name, keys, faults) })
  }
  return { images, needs }
}

function keysOf(value: unknown, name: string, keys: readonly string[], faults: string[]): string[] {
  const names = namesOf(value, `"signedBy" of ${name}`, faults)
  // Nobody's signature is one that is never there; saying nothing is how a rule asks for none.
  if (names.length === 0) faults.push(`"signedBy" of ${name} names no key`)
  for (const key of names)
    if (!keys.includes(key)) faults.push(`${name} names the key "${key}", which is not in "keys"`)
  return names
}

function namesOf(value: unknown, what: string, faults: string[]): string[] {
  const list: unknown[] = Array.isArray(value) ? value : [value]
  const names = list.filter((each) => typeof each === 'string' && each !== '')
  if (names.length < list.length) faults.push(`${what} is no text and no list of texts`)
  return names as string[]
}

function recordOf(
  value: unknown,
  what: string,
  faults: string[],
  known?: readonly string[],
): Readonly<Record<string, unknown>> {
  if (typeof value !== 'object' || value === null || Array.isArray(value)) {
    faults.push(`${what} is no object`)
    return {}
  }
  for (const name of Object.keys(value)) {
    if (known && !known.includes(name)) faults.push(`${what} has "${name}", expected ${known.join(', ')}`)
  }
  return value as Record<string, unknown>
}
