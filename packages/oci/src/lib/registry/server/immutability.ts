import { registrySetting } from '../../errors.ts'
import { globOf } from './glob.ts'
import { RegistryRefusal } from './protocol.ts'

/** The modes of Amazon ECR (`ImageTagMutability`). */
export type TagMutability = 'MUTABLE' | 'IMMUTABLE' | 'MUTABLE_WITH_EXCLUSION' | 'IMMUTABLE_WITH_EXCLUSION'

/** Tags the mode does not hold for, as ECR writes them: `*` stands for any characters. */
export interface TagMutabilityExclusionFilter {
  filterType: 'WILDCARD'
  /** At most 128 characters and two `*`. */
  filter: string
}

/** Whether tags of some repositories can be moved once they are pushed. */
export interface TagMutabilityRule {
  /** Glob of repository names: `*` within one part, `**` over parts. The first rule that matches counts. */
  repositories: string
  mode: TagMutability
  /** For the two modes with exclusion: 1 to 5. */
  exclusionFilters?: readonly TagMutabilityExclusionFilter[] | undefined
}

/** Tells whether a tag may be moved; made once from checked rules. */
export type IsImmutable = (repository: string, tag: string) => boolean

const MAX_FILTERS = 5
const MAX_FILTER_LENGTH = 128
const MAX_WILDCARDS = 2

/** Checks the rules by the limits of ECR; throws FAIRLEAD_OCI_REGISTRY_SETTING. */
export function createImmutability(rules: readonly TagMutabilityRule[]): IsImmutable {
  const compiled = rules.map((rule) => {
    checkRule(rule)
    const excluded = (rule.exclusionFilters ?? []).map(({ filter }) => wildcardOf(filter))
    return { matches: globOf(rule.repositories), isImmutable: rule.mode.startsWith('IMMUTABLE'), excluded }
  })
  return (repository, tag) => {
    const rule = compiled.find(({ matches }) => matches(repository))
    if (!rule) return false
    return rule.excluded.some((pattern) => pattern.test(tag)) ? !rule.isImmutable : rule.isImmutable
  }
}

/** The refusal ECR gives: 400, with the name of its exception in the detail. */
export function tagImmutable(repository: string, tag: string): RegistryRefusal {
  const message = `The image tag '${tag}' already exists in the '${repository}' repository and cannot be overwritten because the tag is immutable.`
  return new RegistryRefusal(400, 'DENIED', message, { detail: { exception: 'ImageTagAlreadyExistsException', tag } })
}

function checkRule({ repositories, mode, exclusionFilters: filters = [] }: TagMutabilityRule): void {
  const subject = `tag mutability of "${repositories}"`
  if (!/^(IM)?MUTABLE(_WITH_EXCLUSION)?$/.test(mode)) throw registrySetting(subject, `"${mode}" is no mode`)
  const takesFilters = mode.endsWith('_WITH_EXCLUSION')
  if (takesFilters && (filters.length === 0 || filters.length > MAX_FILTERS)) {
    throw registrySetting(subject, `mode ${mode} needs 1 to ${MAX_FILTERS} exclusion filters`)
  }
  if (!takesFilters && filters.length > 0) throw registrySetting(subject, `mode ${mode} has no exclusion filters`)
  for (const { filterType, filter } of filters) {
    const wildcards = filter.split('*').length - 1
    const isGood = /^[0-9a-zA-Z._*-]+$/.test(filter) && filter.length <= MAX_FILTER_LENGTH && wildcards <= MAX_WILDCARDS
    if (filterType !== 'WILDCARD' || !isGood) {
      throw registrySetting(
        subject,
        `filter "${filter}" is no WILDCARD filter of at most ${MAX_FILTER_LENGTH} characters of a tag with at most ${MAX_WILDCARDS} "*"`,
      )
    }
  }
}

/** Two stars at most, over 128 characters at most: no pattern that takes long. */
function wildcardOf(filter: string): RegExp {
  return new RegExp(
    `^${filter
      .split('*')
      .map((part) => part.replaceAll(/[.-]/g, String.raw`\$&`))
      .join('.*')}$`,
  )
}
