import { findDuplicateKeys, parseRepeatingYaml } from '@fairlead/kube/codec'
import { applyJsonPatch, applyMergePatch, applyStrategicMergePatch } from '@fairlead/kube/patch'
import { fieldsOf, findDefinition } from '@fairlead/kube/types'
import type { KindInfo, KubeObject } from '@fairlead/kube/types'

import type { ApiRequest } from './exchange.ts'
import { parseMediaType } from './negotiate.ts'
import { badRequest, StatusError, unsupportedMediaType } from './status.ts'

const accepted = [
  'application/json-patch+json',
  'application/merge-patch+json',
  'application/strategic-merge-patch+json',
  'application/apply-patch+yaml',
]

/** Only the table tells how lists of built-in kinds merge. */
const acceptedByCustom = accepted.filter((type) => !type.includes('strategic'))

/** Whether a request applies a configuration: what it does is decided by who owns what. */
export function isApplyPatch(request: ApiRequest): boolean {
  return request.method === 'PATCH' && typeOf(request) === 'application/apply-patch+yaml'
}

function typeOf({ headers }: ApiRequest): string {
  return parseMediaType(headers['content-type'] ?? '').type
}

/** The configuration in the body of an apply: YAML, which JSON is too. A key given twice is told of, or refused. */
export async function readConfiguration(request: ApiRequest): Promise<{ config: unknown; warnings: string[] }> {
  const { value: config, findings, problem } = parseConfiguration((await request.readBody()).toString('utf8'))
  const strictness = request.query.get('fieldValidation') ?? ''
  if (strictness === 'Ignore' || findings.length === 0) return { config, warnings: [] }
  if (strictness === 'Strict') throw badRequest(`error strict decoding YAML: ${problem}`)
  return { config, warnings: findings }
}

interface Configuration {
  readonly value: unknown
  readonly findings: string[]
  /** All findings as one text. */
  readonly problem: string
}

function parseConfiguration(text: string): Configuration {
  try {
    const value = JSON.parse(text) as unknown
    // Most have one line: a path says more than its number.
    const findings = findDuplicateKeys(text).map((path) => `key "${path}" already set in map`)
    return { value, findings, problem: findings.join(', ') }
  } catch {
    // Not JSON, then.
  }
  try {
    const { value, repeated } = parseRepeatingYaml(text)
    const findings = repeated.map(({ key, line }) => `line ${line}: key ${JSON.stringify(key)} already set in map`)
    // In the words of the parser that Kubernetes has.
    const problem = ['error converting YAML to JSON: yaml: unmarshal errors:', ...findings].join('\n  ')
    return { value, findings, problem }
  } catch (error) {
    throw badRequest(`error decoding YAML: ${error instanceof Error ? error.message : String(error)}`)
  }
}

/** Reads the patch in the body of a request; the function it becomes is pure. */
export async function readPatch(
  request: ApiRequest,
  expected: Pick<KindInfo, 'apiVersion' | 'kind'>,
): Promise<(object: KubeObject) => KubeObject> {
  const type = typeOf(request)
  if (!accepted.includes(type)) throw unsupportedMediaType(accepted)
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
  if (type === 'application/json-patch+json') return applyOperations(object, body, expected)
  // Nobody patches a part of it; what is not copied need not be compared.
  const { managedFields, ...metadata } = object.metadata
  const patched = applyMerging(type, { ...object, metadata }, body, expected)
  if (managedFields !== undefined && isRecord(patched) && isRecord(patched['metadata'])) {
    patched['metadata']['managedFields'] ??= managedFields
  }
  return patched
}

/** To upstream a status is always there, empty at least: operations may add to it. */
function applyOperations(
  object: KubeObject,
  body: unknown,
  { apiVersion, kind }: Pick<KindInfo, 'apiVersion' | 'kind'>,
): unknown {
  const definition = findDefinition(apiVersion, kind)
  const isBare = object['status'] === undefined && definition !== undefined && fieldsOf(definition).has('status')
  if (!isBare) return applyJsonPatch(object, body)
  const patched = applyJsonPatch({ ...object, status: {} }, body)
  if (isRecord(patched) && isRecord(patched['status']) && Object.keys(patched['status']).length === 0) {
    delete patched['status']
  }
  return patched
}

function applyMerging(
  type: string,
  object: KubeObject,
  body: unknown,
  expected: Pick<KindInfo, 'apiVersion' | 'kind'>,
): unknown {
  if (type === 'application/merge-patch+json') return applyMergePatch(object, body)
  const definition = findDefinition(expected.apiVersion, expected.kind)
  if (definition === undefined) throw unsupportedMediaType(acceptedByCustom)
  return applyStrategicMergePatch(object, body, definition)
}

/** A patch that is well-formed and does not apply is the object's fault; everything else is the request's. */
function patchFailed(type: string, error: unknown): StatusError {
  const message = error instanceof Error ? error.message : String(error)
  const isUnappliable = type === 'application/json-patch+json' && error instanceof RangeError
  if (!isUnappliable && message !== 'lists of lists are not supported') return badRequest(message)
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

function isRecord(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}
