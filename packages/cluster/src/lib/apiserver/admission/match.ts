import type { LabelSelector } from '@fairlead/kube/types'
import type { NamedRuleWithOperations } from '@fairlead/kube/types/admissionregistration-v1'

import type { Store } from '../../storage/store.ts'
import type { Resource } from '../resource.ts'
import type { AdmissionAttributes } from './attributes.ts'
import { selects, selectsAll } from './label-selectors.ts'
import { namespaceOf } from './namespaces.ts'
import { findMatch } from './rules.ts'

/** What webhooks and policies say of the requests they want to see. */
export interface MatchCriteria {
  readonly rules: readonly NamedRuleWithOperations[]
  readonly matchPolicy?: string | undefined
  readonly namespaceSelector?: LabelSelector | undefined
  readonly objectSelector?: LabelSelector | undefined
}

export interface Matcher {
  readonly store: Store
  readonly equivalents: (resource: Resource) => readonly Resource[]
}

/** The resource, in the version its rules name, as which `criteria` want to see a request; undefined when they do not. */
export function matchRequest(
  { store, equivalents }: Matcher,
  criteria: MatchCriteria,
  attributes: AdmissionAttributes,
): Resource | undefined {
  const { rules, matchPolicy, namespaceSelector, objectSelector } = criteria
  const matched = findMatch(rules, matchPolicy, attributes, equivalents)
  if (matched === undefined) return undefined
  if (!selectsAll(objectSelector)) {
    const { object, oldObject } = attributes
    const isSelected = [object, oldObject].some(
      (each) => each !== undefined && selects(objectSelector, each.metadata.labels),
    )
    if (!isSelected) return undefined
  }
  if (selectsAll(namespaceSelector)) return matched
  const namespace = namespaceOf(store, attributes)
  return namespace === undefined || selects(namespaceSelector, namespace.metadata.labels) ? matched : undefined
}
