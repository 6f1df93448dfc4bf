import { applyJsonPatch, applyMergePatch, applyStrategicMergePatch } from '@fairlead/kube/patch'
import { findDefinition } from '@fairlead/kube/types'
import type { KindInfo, KubeObject } from '@fairlead/kube/types'

import type { ApiRequest } from './exchange.ts'
import { parseMediaType } from './negotiate.ts'
import { badRequest, StatusError, unsupportedMediaType } from './status.ts'

const accepted = [
  'application/json-patch+json',
  'application/merge-patch+json',
  'application/strategic-merge-patch+json',
]

/** Reads the patch in the body of a request; the function it becomes is pure. */
export async function readPatch(
  request: ApiRequest,
  expected: Pick<KindInfo, 'apiVersion' | 'kind'>,
): Promise<(object: KubeObject) => KubeObject> {
  const { type } = parseMediaType(request.headers['content-type'] ?? '')
  if (!accepted.includes(type)) throw unsupportedMediaType(type, accepted)
  const body = parse(await request.readBody())
  return (object) => {
    try {
      return asObject(applyPatch(type, object, body, expected))
    } catch (error) {
      if (error instanceof StatusError) throw error
      throw patchFailed(type, error)
    }
  }
}

function applyPatch(
  type: string,
  object: KubeObject,
  body: unknown,
  expected: Pick<KindInfo, 'apiVersion' | 'kind'>,
): unknown {
  if (type === 'application/json-patch+json') return applyJsonPatch(object, body)
  if (type === 'application/merge-patch+json') return applyMergePatch(object, body)
  const definition = findDefinition(expected.apiVersion, expected.kind)
  if (definition === undefined) throw unsupportedMediaType(type, accepted.slice(0, 2))
  return applyStrategicMergePatch(object, body, definition)
}

/** A JSON patch that is well-formed and does not apply is the object's fault; everything else is the request's. */
function patchFailed(type: string, error: unknown): StatusError {
  const message = error instanceof Error ? error.message : String(error)
  const isUnappliable = type === 'application/json-patch+json' && error instanceof RangeError
  if (!isUnappliable) return badRequest(message)
  return new StatusError(422, 'Invalid', `the server rejected our request due to an error in our request: ${message}`, {
    details: {},
  })
}

function parse(bytes: Buffer): unknown {
  try {
    return JSON.parse(bytes.toString('utf8'))
  } catch (error) {
    throw badRequest(`error decoding patch: ${error instanceof Error ? error.message : String(error)}`)
  }
}

function asObject(value: unknown): KubeObject {
  if (typeof value !== 'object' || value === null || Array.isArray(value))
    throw badRequest('the patched value is not an object')
  const object = value as KubeObject
  object.metadata ??= {}
  return object
}
