import type { AdmissionAttributes } from '../attributes.ts'
import { matchRequest } from '../match.ts'
import type { ConditionContext } from '../policies/conditions.ts'
import { toVersion } from '../versioned.ts'
import { callHook } from './call.ts'
import type { Hook } from './hooks.ts'

/** Asks all webhooks that want to see a request at once; the first refusal, in their order, is the answer. */
export async function validateByHooks(
  context: ConditionContext,
  hooks: readonly Hook[],
  attributes: AdmissionAttributes,
): Promise<void> {
  const { resource, object, oldObject } = attributes
  const calls = hooks.flatMap((hook) => {
    const matched = matchRequest(context, hook.criteria, attributes)
    if (matched === undefined) return []
    if (!hook.conditions.hold(context, attributes, matched, hook.webhook.failurePolicy)) return []
    const objects = {
      object: toVersion(object, resource, matched),
      oldObject: toVersion(oldObject, resource, matched),
    }
    return [callHook(hook, attributes, matched, objects, false)]
  })
  const answers = await Promise.allSettled(calls)
  for (const answer of answers) if (answer.status === 'rejected') throw answer.reason
}
