import { renderExactJson } from '@fairlead/kube/codec'
import { applyJsonPatch } from '@fairlead/kube/patch'
import type { KubeObject } from '@fairlead/kube/types'

import { tidyObject } from '../../body.ts'
import type { Resource } from '../../resource.ts'
import { internalError } from '../../status.ts'
import type { AdmissionAttributes } from '../attributes.ts'
import { matchRequest } from '../match.ts'
import type { ConditionContext } from '../policies/conditions.ts'
import { toVersion } from '../versioned.ts'
import { callHook } from './call.ts'
import type { Hook } from './hooks.ts'

/** Webhooks that asked to see the object again, and what it was when they had seen it. */
export type Revisits = Map<Hook, string>

/**
 * Lets webhooks change an object, one after the other, each seeing what those before made of it. With `again`, only those
 * in it for which the object has changed since.
 */
export async function mutateByHooks(
  context: ConditionContext,
  hooks: readonly Hook[],
  attributes: AdmissionAttributes,
  revisits: Revisits,
  again?: Revisits,
): Promise<KubeObject | undefined> {
  let { object } = attributes
  for (const hook of hooks) {
    if (again !== undefined && (!again.has(hook) || again.get(hook) === renderExactJson(object))) continue
    const current = { ...attributes, object }
    const matched = matchRequest(context, hook.criteria, current)
    if (matched === undefined || !hook.conditions.hold(context, current, matched, hook.webhook.failurePolicy)) continue
    object = await mutateByHook(hook, current, matched)
    if (hook.webhook.reinvocationPolicy === 'IfNeeded') revisits.set(hook, renderExactJson(object))
  }
  return object
}

async function mutateByHook(
  hook: Hook,
  attributes: AdmissionAttributes,
  matched: Resource,
): Promise<KubeObject | undefined> {
  const { resource } = attributes
  const object = toVersion(attributes.object, resource, matched)
  const oldObject = toVersion(attributes.oldObject, resource, matched)
  const answer = await callHook(hook, attributes, matched, { object, oldObject }, true)
  if (answer?.patch === undefined) return attributes.object
  const { name } = hook.webhook
  if (object === undefined) {
    const what = 'attempted to modify the object, which is not supported for this operation'
    throw internalError(`admission webhook ${JSON.stringify(name)} ${what}`)
  }
  if (Array.isArray(answer.patch) && answer.patch.length === 0) return attributes.object
  return toVersion(patched(object, answer.patch, matched), matched, resource)
}

function patched(object: KubeObject, patch: unknown, resource: Resource): KubeObject {
  try {
    return tidyObject(applyJsonPatch(structuredClone(object), patch) as KubeObject, resource)
  } catch (error) {
    throw internalError(error instanceof Error ? error.message : String(error))
  }
}
