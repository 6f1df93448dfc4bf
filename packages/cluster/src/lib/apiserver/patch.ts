import { findDuplicateKeys, parseExactJson, parseJson, parseRepeatingYaml, renderExactJson } from '@fairlead/kube/codec'
import type { JsonOptions } from '@fairlead/kube/codec'
import {
  applyJsonPatch,
  applyMergePatch,
  applyStrategicMergePatch,
  maxJsonPatchOperations,
  renderGo,
} from '@fairlead/kube/patch'
import { fieldsOf, findDefinition } from '@fairlead/kube/types'
import type { KindInfo, KubeObject, TypeWords } from '@fairlead/kube/types'

import type { BodyKind } from './body.ts'
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
  const text = (await request.readBody()).toString('utf8')
  const { value: config, findings, problem } = parseConfiguration(text)
  const strictness = request.query.get('fieldValidation') ?? ''
  if (strictness === 'Ignore') return { config, warnings: [] }
  if (findings.length === 0) return { config, warnings: [] }
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
    const value = parseExactJson(text)
    // Most have one line: a path says more than its number.
    const findings = findDuplicateKeys(text).map((path) => `key "${path}" already set in map`)
    return { value, findings, problem: findings.join(', ') }
  } catch {
    // Not JSON, then.
  }
  try {
    const { value, repeated } = parseRepeatingYaml(text, 'document', { exactIntegers: true })
    const findings = repeated.map(({ key, line }) => `line ${line}: key ${JSON.stringify(key)} already set in map`)
    // In the words of the parser that Kubernetes has.
    const problem = ['error converting YAML to JSON: yaml: unmarshal errors:', ...findings].join('\n  ')
    return { value, findings, problem }
  } catch (error) {
    throw badRequest(`error decoding YAML: ${error instanceof Error ? error.message : String(error)}`)
  }
}

/** A patch as sent. */
export interface Patch {
  /** Pure: the object as patched. */
  readonly apply: (object: KubeObject) => KubeObject
  /** What it says twice, or what means nothing in it: warned of, or refused. */
  readonly findings: readonly string[]
  /** How a refusal tells of values of the wrong type. */
  readonly words: TypeWords
  /** What a refusal of the patched object shows of it. */
  show(patched: KubeObject): string
}

/** Reads the patch in the body of a request. */
export async function readPatch(request: ApiRequest, expected: BodyKind): Promise<Patch> {
  const type = typeOf(request)
  if (!accepted.includes(type)) throw unsupportedMediaType(accepted)
  const isChecked = request.query.get('fieldValidation') !== 'Ignore'
  const bytes = await request.readBody()
  const { value: body, duplicates } = parse(bytes, {
    findDuplicates: isChecked,
    exactIntegers: true,
  })
  const isOperations = type === 'application/json-patch+json'
  if (isOperations && isChecked) checkOperations(body)
  const unknown = isOperations && isChecked ? unknownFieldsOf(body) : []
  const prefix = isOperations ? 'json patch ' : ''
  const isStrategic = type.includes('strategic')
  return {
    findings: [...unknown, ...duplicates.map((path) => `duplicate field "${path}"`)].map((each) => prefix + each),
    // The words of a strategic merge go by the patch; those of the others by what they made, which is decoded anew.
    words: isStrategic ? 'conversion' : 'decoding',
    show: (patched) => (isStrategic ? renderGo(body) : renderExactJson(patched)),
    apply(object) {
      try {
        return asObject(applyPatch(type, object, body, expected))
      } catch (error) {
        if (error instanceof StatusError) throw error
        throw patchFailed(type, error)
      }
    },
  }
}

const operationFields = ['op', 'path', 'from', 'value']

/** Throws 400 where a field of an operation is of another type than it has to be, as upstream's decoder does. */
function checkOperations(body: unknown): void {
  const refuse = (value: unknown, place: string): never => {
    const found = Array.isArray(value) ? 'array' : typeof value === 'boolean' ? 'bool' : typeof value
    throw badRequest(`error decoding patch: json: cannot unmarshal ${found} into Go ${place}`)
  }
  if (body === null) return
  if (!Array.isArray(body)) return refuse(body, 'value of type []handlers.jsonPatchOp')
  for (const operation of body as unknown[]) {
    if (operation === null) continue
    if (!isRecord(operation)) return refuse(operation, 'value of type handlers.jsonPatchOp')
    for (const name of ['op', 'path', 'from']) {
      const value = operation[name] ?? ''
      if (typeof value !== 'string') refuse(value, `struct field jsonPatchOp.${name} of type string`)
    }
  }
}

function unknownFieldsOf(body: unknown): string[] {
  const operations = Array.isArray(body) ? (body as unknown[]) : []
  return operations.flatMap((operation, index) =>
    Object.keys(operation ?? {})
      .filter((name) => !operationFields.includes(name))
      .map((name) => `unknown field "[${index}].${name}"`),
  )
}

function applyPatch(
  type: string,
  object: KubeObject,
  body: unknown,
  expected: Pick<KindInfo, 'apiVersion' | 'kind'>,
): unknown {
  if (type === 'application/json-patch+json') {
    if (Array.isArray(body) && body.length > maxJsonPatchOperations) throw tooManyOperations(body.length)
    return applyOperations(object, body, expected)
  }
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

function tooManyOperations(count: number): StatusError {
  const allowed = `The allowed maximum operations in a JSON patch is ${maxJsonPatchOperations}`
  return new StatusError(413, 'RequestEntityTooLarge', `Request entity too large: ${allowed}, got ${count}`)
}

function parse(bytes: Buffer, options: JsonOptions): ReturnType<typeof parseJson> {
  try {
    return parseJson(bytes, options)
  } catch (error) {
    const why = error instanceof Error && error.cause instanceof Error ? error.cause.message : String(error)
    throw badRequest(`error decoding patch: ${why}`)
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
