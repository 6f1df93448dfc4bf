import type { KubeObject } from '@fairlead/kube/types'

import type { Resource } from '../../resource.ts'
import { badRequest, internalError } from '../../status.ts'
import type { AdmissionAttributes } from '../attributes.ts'
import type { Hook } from './hooks.ts'
import { denial, parseAnswer, renderReview } from './review.ts'
import type { ReviewAnswer } from './review.ts'

export interface ReviewedObjects {
  readonly object: KubeObject | undefined
  readonly oldObject: KubeObject | undefined
}

/**
 * Asks one webhook. Undefined when it could not answer and its failure policy lets the request go on; throws the `Status`
 * of a refusal.
 */
export async function callHook(
  { webhook, client }: Hook,
  attributes: AdmissionAttributes,
  matched: Resource,
  objects: ReviewedObjects,
  isMutating: boolean,
): Promise<ReviewAnswer | undefined> {
  const { name, sideEffects, timeoutSeconds = 10, failurePolicy, admissionReviewVersions } = webhook
  if (attributes.isDryRun && sideEffects !== 'None' && sideEffects !== 'NoneOnDryRun') {
    throw badRequest(`admission webhook ${JSON.stringify(name)} does not support dry run`)
  }
  const review = renderReview(attributes, matched, objects, admissionReviewVersions)
  let answer: ReviewAnswer
  try {
    answer = parseAnswer(await client.post(review, timeoutSeconds), review, isMutating)
  } catch (error) {
    const why = error instanceof Error ? error.message : String(error)
    if (failurePolicy === 'Ignore') {
      const type = isMutating ? 'mutating' : 'validating'
      attributes.notes.annotate(`failed-open.${type}.webhook.admission.k8s.io/${name}`, name)
      return undefined
    }
    throw internalError(`failed calling webhook ${JSON.stringify(name)}: failed to call webhook: ${why}`)
  }
  for (const warning of answer.warnings) attributes.notes.warn(warning)
  for (const [key, value] of Object.entries(answer.annotations)) attributes.notes.annotate(`${name}/${key}`, value)
  if (!answer.allowed) throw denial(name, answer.status)
  return answer
}
