import { policyInvalid } from '../../errors.ts'

export type CountType = 'imageCountMoreThan' | 'sinceImagePushed' | 'sinceImagePulled' | 'sinceImageTransitioned'

/** One rule of a lifecycle policy of Amazon ECR, as it is after validation. */
export interface EcrRule {
  readonly priority: number
  readonly description: string | undefined
  readonly tagStatus: 'tagged' | 'untagged' | 'any'
  /** Each entry must be matched by a tag of the image. Empty unless `tagStatus` is `tagged`. */
  readonly tags: readonly { readonly kind: 'pattern' | 'prefix'; readonly text: string }[]
  readonly storageClass: 'standard' | 'archive'
  readonly countType: CountType
  readonly countNumber: number
  readonly action: 'expire' | 'transition'
}

/** A lifecycle policy of Amazon ECR: rules by ascending priority. */
export interface EcrPolicy {
  readonly kind: 'ecr'
  readonly rules: readonly EcrRule[]
}

const countTypes: ReadonlySet<string> = new Set<CountType>([
  'imageCountMoreThan',
  'sinceImagePushed',
  'sinceImagePulled',
  'sinceImageTransitioned',
])
const minArchiveDays = 90

/**
 * Reads a lifecycle policy in the JSON of Amazon ECR (`{"rules": [...]}`) and checks it by ECR's own rules.
 *
 * @throws `FAIRLEAD_OCI_POLICY` naming every fault.
 */
export function parseEcrPolicy(text: string, source = 'lifecycle policy'): EcrPolicy {
  const faults: string[] = []
  const rules = recordsOf(parseJson(text, source), faults).map((given, index) => parseRule(given, index, faults))
  checkTogether(rules, faults)
  if (faults.length > 0) throw policyInvalid(source, faults)
  return { kind: 'ecr', rules: rules.toSorted((a, b) => a.priority - b.priority) }
}

type Json = Readonly<Record<string, unknown>>

function parseJson(text: string, source: string): unknown {
  try {
    return JSON.parse(text)
  } catch (error) {
    throw policyInvalid(source, [`it is not JSON (${(error as Error).message})`], error)
  }
}

function recordsOf(value: unknown, faults: string[]): Json[] {
  const rules = isRecord(value) ? value['rules'] : undefined
  if (!Array.isArray(rules) || rules.length === 0) {
    faults.push('it has no "rules"')
    return []
  }
  if (rules.length > 50) faults.push(`it has ${rules.length} rules, and ECR takes 50`)
  return rules.map((rule: unknown, index) => {
    if (isRecord(rule)) return rule
    faults.push(`rules[${index}] is not an object`)
    return {}
  })
}

function parseRule(given: Json, index: number, faults: string[]): EcrRule {
  const fault = (text: string): void => void faults.push(`rules[${index}]${text}`)
  const only = (record: Json, names: readonly string[], path: string): void => {
    for (const name of Object.keys(record)) if (!names.includes(name)) fault(`${path}.${name} is not known`)
  }
  only(given, ['rulePriority', 'description', 'selection', 'action'], '')
  const selection = isRecord(given['selection']) ? given['selection'] : {}
  if (!isRecord(given['selection'])) fault('.selection is missing')
  only(
    selection,
    ['tagStatus', 'tagPatternList', 'tagPrefixList', 'storageClass', 'countType', 'countUnit', 'countNumber'],
    '.selection',
  )
  const given2 = isRecord(given['action']) ? given['action'] : {}
  only(given2, ['type', 'targetStorageClass'], '.action')

  const priority = given['rulePriority']
  if (!isCount(priority)) fault('.rulePriority is not a whole number from 1')
  const tagStatus = selection['tagStatus']
  if (tagStatus !== 'tagged' && tagStatus !== 'untagged' && tagStatus !== 'any')
    fault('.selection.tagStatus is not "tagged", "untagged" or "any"')
  const countType = selection['countType']
  if (typeof countType !== 'string' || !countTypes.has(countType))
    fault(`.selection.countType is not one of ${[...countTypes].join(', ')}`)
  if (!isCount(selection['countNumber'])) fault('.selection.countNumber is not a whole number from 1')
  const action = given2['type']
  if (action !== 'expire' && action !== 'transition') fault('.action.type is not "expire" or "transition"')

  const rule: EcrRule = {
    priority: Number(priority),
    description: typeof given['description'] === 'string' ? given['description'] : undefined,
    tagStatus: tagStatus as EcrRule['tagStatus'],
    tags: parseTags(selection, tagStatus === 'tagged', fault),
    storageClass: selection['storageClass'] === 'archive' ? 'archive' : 'standard',
    countType: countType as CountType,
    countNumber: Number(selection['countNumber']),
    action: action as EcrRule['action'],
  }
  checkRule(rule, { storageClass: selection['storageClass'], countUnit: selection['countUnit'] }, fault)
  if (action === 'transition' && given2['targetStorageClass'] !== 'archive')
    fault('.action.targetStorageClass is not "archive", which a transition needs')
  if (action === 'expire' && given2['targetStorageClass'] !== undefined)
    fault('.action.targetStorageClass is given, and an expiry has no target')
  return rule
}

function parseTags(selection: Json, isTagged: boolean, fault: (text: string) => void): EcrRule['tags'] {
  const { tagPatternList: patterns, tagPrefixList: prefixes } = selection
  if (!isTagged) {
    if (patterns !== undefined || prefixes !== undefined)
      fault('.selection has a list of tags, which only tagStatus "tagged" may have')
    return []
  }
  if ((patterns === undefined) === (prefixes === undefined)) {
    fault('.selection needs either tagPatternList or tagPrefixList')
    return []
  }
  const kind = patterns === undefined ? 'prefix' : 'pattern'
  const list: unknown = patterns ?? prefixes
  if (!Array.isArray(list) || list.length === 0 || !list.every((entry) => typeof entry === 'string' && entry !== '')) {
    fault(`.selection.${kind === 'pattern' ? 'tagPatternList' : 'tagPrefixList'} is not a list of texts`)
    return []
  }
  return list.map((text: string) => {
    if (kind === 'pattern' && text.split('*').length > 5)
      fault(`.selection.tagPatternList has more than four "*" in ${JSON.stringify(text)}`)
    return { kind, text } as const
  })
}

function checkRule(
  rule: EcrRule,
  given: { readonly storageClass: unknown; readonly countUnit: unknown },
  fault: (text: string) => void,
): void {
  const { countType, action } = rule
  const isTime = countType !== 'imageCountMoreThan'
  if (isTime && given.countUnit !== 'days') fault(`.selection.countUnit is not "days", which ${countType} needs`)
  if (!isTime && given.countUnit !== undefined)
    fault('.selection.countUnit is given, and imageCountMoreThan has no unit')
  if (countType === 'sinceImagePulled' && action === 'expire')
    fault('.action.type is "expire", and sinceImagePulled can only archive ("transition")')
  if (countType === 'sinceImageTransitioned') {
    if (action === 'transition') fault('.action.type is "transition", and what is archived can only expire')
    if (rule.countNumber < minArchiveDays)
      fault(`.selection.countNumber is below ${minArchiveDays}, the least time in the archive`)
    if (given.storageClass !== 'archive') fault('.selection.storageClass is not "archive", which it must be')
  } else if (given.storageClass !== undefined && given.storageClass !== 'standard') {
    fault('.selection.storageClass is not "standard", which all but sinceImageTransitioned select')
  }
}

/** What no rule can have wrong alone. */
function checkTogether(rules: readonly EcrRule[], faults: string[]): void {
  const priorities = new Set<number>()
  const selections = new Map<string, number>()
  const highest = Math.max(...rules.map(({ priority }) => priority))
  rules.forEach((rule, index) => {
    if (priorities.has(rule.priority)) faults.push(`rules[${index}].rulePriority ${rule.priority} is taken`)
    priorities.add(rule.priority)
    if (rule.tagStatus === 'any' && rule.priority < highest)
      faults.push(`rules[${index}] selects "any", and must have the highest rulePriority`)
    const list = rule.tags.map(({ text }) => text).toSorted()
    const key = JSON.stringify([rule.storageClass, rule.tagStatus, rule.tags[0]?.kind, list])
    const other = selections.get(key)
    if (other !== undefined && rule.tagStatus !== 'any')
      faults.push(`rules[${index}] selects the same images as rules[${other}]`)
    selections.set(key, index)
  })
}

function isRecord(value: unknown): value is Json {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}

function isCount(value: unknown): boolean {
  return Number.isSafeInteger(value) && Number(value) >= 1
}
