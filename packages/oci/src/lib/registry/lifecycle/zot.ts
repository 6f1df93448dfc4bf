import { policyInvalid } from '../../errors.ts'
import type { LifecycleAction, LifecycleImage } from './image.ts'

/** One entry of `keepTags`: a tag that matches is kept if any of the criteria holds, or if there are none. */
export interface KeepTags {
  readonly patterns: readonly RegExp[]
  readonly mostRecentlyPushedCount: number | undefined
  readonly mostRecentlyPulledCount: number | undefined
  readonly pushedWithinMs: number | undefined
  readonly pulledWithinMs: number | undefined
}

export interface ZotRule {
  /** Globs of repositories. */
  readonly repositories: readonly string[]
  readonly deleteUntagged: boolean
  readonly deleteReferrers: boolean
  /** Undefined: all tags are kept. */
  readonly keepTags: readonly KeepTags[] | undefined
}

/** The retention section of a zot configuration: the first entry whose globs match a repository is its policy. */
export interface ZotPolicy {
  readonly kind: 'zot'
  readonly rules: readonly ZotRule[]
  /** Manifests that became untagged less than this ago are left alone. */
  readonly delayMs: number
}

type Json = Readonly<Record<string, unknown>>

/**
 * Reads the `retention` section of a zot configuration (`{"delay", "policies": [...]}`), or a whole configuration with
 * `storage.retention`.
 *
 * @throws `FAIRLEAD_OCI_POLICY` naming every fault.
 */
export function parseZotPolicy(value: unknown, source = 'retention policy'): ZotPolicy {
  const faults: string[] = []
  const root = recordOf(value)
  const section = recordOf(recordOf(root['storage'])['retention'] ?? root)
  const policies = section['policies']
  if (!Array.isArray(policies) || policies.length === 0) throw policyInvalid(source, ['it has no "policies"'])
  const rules = policies.map((given: unknown, index) => parseRule(recordOf(given), `policies[${index}]`, faults))
  const delayMs = parseDuration(section['delay'] ?? '24h', 'delay', faults) ?? 0
  if (faults.length > 0) throw policyInvalid(source, faults)
  return { kind: 'zot', rules, delayMs }
}

function parseRule(given: Json, path: string, faults: string[]): ZotRule {
  refuseOthers(given, ['repositories', 'deleteReferrers', 'deleteUntagged', 'keepTags'], path, faults)
  const { keepTags } = given
  if (keepTags !== undefined && !Array.isArray(keepTags)) faults.push(`${path}.keepTags is not a list`)
  return {
    repositories: parseTexts(given['repositories'], `${path}.repositories`, faults) ?? ['**'],
    deleteUntagged: parseFlag(given['deleteUntagged'], true, `${path}.deleteUntagged`, faults),
    deleteReferrers: parseFlag(given['deleteReferrers'], false, `${path}.deleteReferrers`, faults),
    keepTags: Array.isArray(keepTags)
      ? keepTags.map((entry: unknown, index) => parseKeepTags(recordOf(entry), `${path}.keepTags[${index}]`, faults))
      : undefined,
  }
}

function parseKeepTags(given: Json, path: string, faults: string[]): KeepTags {
  const names = ['patterns', 'mostRecentlyPushedCount', 'mostRecentlyPulledCount', 'pushedWithin', 'pulledWithin']
  refuseOthers(given, names, path, faults)
  const patterns = parseTexts(given['patterns'], `${path}.patterns`, faults) ?? ['.*']
  return {
    patterns: patterns.flatMap((text) => parsePattern(text, path, faults)),
    mostRecentlyPushedCount: parseCount(given['mostRecentlyPushedCount'], `${path}.mostRecentlyPushedCount`, faults),
    mostRecentlyPulledCount: parseCount(given['mostRecentlyPulledCount'], `${path}.mostRecentlyPulledCount`, faults),
    pushedWithinMs: parseDuration(given['pushedWithin'], `${path}.pushedWithin`, faults),
    pulledWithinMs: parseDuration(given['pulledWithin'], `${path}.pulledWithin`, faults),
  }
}

/**
 * What zot's retention would do with these images of `repository`. A tag that no entry of `keepTags` keeps is taken away; an image goes
 * when it has lost all of its tags, or had none and is older than the delay.
 */
export function evaluateZotPolicy(
  policy: ZotPolicy,
  repository: string,
  images: readonly LifecycleImage[],
  now: number,
): LifecycleAction[] {
  const number = policy.rules.findIndex(({ repositories }) =>
    repositories.some((glob) => matchesGlob(glob, repository)),
  )
  const rule = policy.rules[number]
  if (rule === undefined) return []
  const kept = keptImages(rule, images, now)
  const act = (image: LifecycleImage, reason: string): LifecycleAction => ({
    digest: image.digest,
    tags: image.tags,
    pushedAt: image.pushedAt,
    action: 'expire',
    rule: number + 1,
    reason,
  })
  const present = new Set(images.map(({ digest }) => digest))
  const expired = images.flatMap((image): LifecycleAction[] => {
    const { digest, tags, pushedAt, subject } = image
    if (kept.has(digest)) return []
    if (tags.length > 0) return [act(image, 'no rule keeps its tags')]
    if (now - pushedAt < policy.delayMs) return []
    if (subject === undefined) return rule.deleteUntagged ? [act(image, 'untagged')] : []
    return rule.deleteReferrers && !present.has(subject) ? [act(image, 'its subject is gone')] : []
  })
  return expired.toSorted((a, b) => a.pushedAt - b.pushedAt)
}

/** Images with a tag that is kept, what they consist of, and what is about them. */
function keptImages(rule: ZotRule, images: readonly LifecycleImage[], now: number): ReadonlySet<string> {
  const kept = new Set<string>(
    images
      .filter((image) => image.tags.some((tag) => isKept(rule, tag, image, images, now)))
      .map(({ digest }) => digest),
  )
  for (let before = -1; before !== kept.size;) {
    before = kept.size
    for (const { digest, children, subject } of images) {
      if (kept.has(digest)) for (const child of children ?? []) kept.add(child)
      if (subject !== undefined && kept.has(subject)) kept.add(digest)
    }
  }
  return kept
}

function isKept(
  { keepTags }: ZotRule,
  tag: string,
  image: LifecycleImage,
  images: readonly LifecycleImage[],
  now: number,
): boolean {
  if (keepTags === undefined) return true
  return keepTags.some((rule) => {
    const matches = (text: string): boolean => rule.patterns.some((pattern) => pattern.test(text))
    if (!matches(tag)) return false
    const { mostRecentlyPushedCount: pushed, mostRecentlyPulledCount: pulled, pushedWithinMs, pulledWithinMs } = rule
    if ([pushed, pulled, pushedWithinMs, pulledWithinMs].every((criterion) => criterion === undefined)) return true
    const rank = (time: (other: LifecycleImage) => number): number =>
      images.filter((other) => time(other) > time(image) && other.tags.some(matches)).length
    const pulledAt = ({ lastPulledAt = 0 }: LifecycleImage): number => lastPulledAt
    return (
      (pushed !== undefined && rank((other) => other.pushedAt) < pushed) ||
      (pulled !== undefined && rank(pulledAt) < pulled) ||
      (pushedWithinMs !== undefined && now - image.pushedAt <= pushedWithinMs) ||
      (pulledWithinMs !== undefined && now - pulledAt(image) <= pulledWithinMs)
    )
  })
}

/** `*` stands for a part of one path segment, `**` for any number of segments. */
export function matchesGlob(glob: string, repository: string): boolean {
  const source = glob
    .split(/(\*\*|\*|\?)/)
    .map((part) => ({ '**': '.*', '*': '[^/]*', '?': '[^/]' })[part] ?? part.replaceAll(/[.+^${}()|[\]\\]/g, '\\$&'))
    .join('')
  return new RegExp(`^${source}$`).test(repository)
}

function parsePattern(text: string, path: string, faults: string[]): RegExp[] {
  try {
    if (text.length > 256) throw new SyntaxError('it is longer than 256 characters')
    return [new RegExp(`^(?:${text})$`)]
  } catch (error) {
    faults.push(`${path}.patterns has ${JSON.stringify(text)}: ${(error as Error).message}`)
    return []
  }
}

const unitMs: Readonly<Record<string, number>> = { h: 3_600_000, m: 60_000, s: 1000, ms: 1 }

/** As Go writes durations: `720h`, `1h30m`. */
function parseDuration(value: unknown, path: string, faults: string[]): number | undefined {
  if (value === undefined) return undefined
  if (typeof value === 'string' && /^(\d+(\.\d+)?(ms|h|m|s))+$/.test(value)) {
    const parts = value.matchAll(/([\d.]+)(ms|h|m|s)/g)
    return parts.reduce((sum, [, amount, unit = '']) => sum + Number(amount) * (unitMs[unit] ?? 0), 0)
  }
  faults.push(`${path} is not a duration such as "720h"`)
  return undefined
}

function parseCount(value: unknown, path: string, faults: string[]): number | undefined {
  if (value === undefined || (Number.isSafeInteger(value) && Number(value) >= 0)) return value as number | undefined
  faults.push(`${path} is not a whole number`)
  return undefined
}

function parseFlag(value: unknown, absent: boolean, path: string, faults: string[]): boolean {
  if (value === undefined) return absent
  if (typeof value !== 'boolean') faults.push(`${path} is not true or false`)
  return value === true
}

function parseTexts(value: unknown, path: string, faults: string[]): readonly string[] | undefined {
  if (value === undefined) return undefined
  if (Array.isArray(value) && value.every((entry) => typeof entry === 'string')) return value
  faults.push(`${path} is not a list of texts`)
  return undefined
}

function refuseOthers(given: Json, names: readonly string[], path: string, faults: string[]): void {
  for (const name of Object.keys(given)) if (!names.includes(name)) faults.push(`${path}.${name} is not known`)
}

function recordOf(value: unknown): Json {
  return typeof value === 'object' && value !== null && !Array.isArray(value) ? (value as Json) : {}
}
