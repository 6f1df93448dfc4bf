import { decodeProtobuf, parseJson, parseManifests } from '@fairlead/kube/codec'
import type { JsonOptions } from '@fairlead/kube/codec'
import { fieldsOf, findDefinition, validateFields } from '@fairlead/kube/types'
import type { FieldInfo, KindInfo, KubeObject, TypeWords } from '@fairlead/kube/types'

import type { ApiRequest } from './exchange.ts'
import { parseMediaType } from './negotiate.ts'
import type { CustomKind, Resource } from './resource.ts'
import type { Patch } from './patch.ts'
import { badRequest, invalidPatch, unsupportedMediaType } from './status.ts'
import type { StatusError } from './status.ts'

/** An object as sent, and what the client should be warned of. */
export interface Decoded {
  readonly object: KubeObject
  readonly warnings: readonly string[]
}

type Strictness = 'Strict' | 'Warn' | 'Ignore'

/** What a body is expected to hold. */
export interface BodyKind extends Pick<KindInfo, 'apiVersion' | 'kind'> {
  /** Reads objects of kinds that are in no table. */
  readonly custom?: CustomKind | undefined
}

export function bodyKindOf({ info, custom }: Resource): BodyKind {
  return custom === undefined ? info : { apiVersion: info.apiVersion, kind: info.kind, custom }
}

const accepted = ['application/json', 'application/yaml', 'application/vnd.kubernetes.protobuf']

/** Reads the object in the body of a create or update and checks it against the definition of its kind. */
export async function readObjectBody(request: ApiRequest, expected: BodyKind): Promise<Decoded> {
  const bytes = await request.readBody()
  const strictness = strictnessOf(request.query)
  const { object, duplicates } = decode(request.headers['content-type'], bytes, {
    kind: expected.kind,
    findDuplicates: strictness !== 'Ignore',
    exactIntegers: true,
  })
  object.apiVersion ??= expected.apiVersion
  object.kind ??= expected.kind
  object.metadata ??= {}
  checkKind(object, expected)
  const after = duplicates.map((path) => `duplicate field "${path}"`)
  return checkFields(object, expected, strictness, { after })
}

/** The options in the body of a DELETE; undefined when there is no body. */
export async function readOptions(request: ApiRequest): Promise<Record<string, unknown> | undefined> {
  const bytes = await request.readBody()
  if (bytes.length === 0) return undefined
  return decode(request.headers['content-type'], bytes, { kind: 'DeleteOptions' }).object
}

/**
 * Checks what a patch or a configuration produced. A patch may repeat the kind of the object but not change it: what is
 * stored would be checked by the rules of another kind. Throws 422 for what is wrong with an object that `patch` produced.
 */
export function checkPatched(
  object: KubeObject,
  expected: BodyKind,
  query: URLSearchParams,
  patch?: Pick<Patch, 'findings' | 'show' | 'words'>,
): Decoded {
  object.apiVersion ??= expected.apiVersion
  object.kind ??= expected.kind
  checkKind(object, expected)
  const refuse = patch === undefined ? undefined : (why: string) => invalidPatch(patch.show(object), why)
  const found = { before: patch?.findings, refuse, words: patch?.words }
  return checkFields(object, expected, strictnessOf(query), found)
}

/** Brings an object that a webhook made to the form its type has: what the type does not know goes, silently as upstream. */
export function tidyObject(object: KubeObject, resource: Resource): KubeObject {
  const { custom, info } = resource
  const isItself = object.kind === info.kind && object.apiVersion === info.apiVersion
  return checkFields(object, { ...info, custom: isItself ? custom : undefined }, 'Ignore').object
}

function strictnessOf(query: URLSearchParams): Strictness {
  const asked = query.get('fieldValidation') ?? ''
  if (asked === '') return 'Warn'
  if (asked === 'Strict' || asked === 'Warn' || asked === 'Ignore') return asked
  throw badRequest(`fieldValidation: Unsupported value: "${asked}": supported values: "Ignore", "Strict", "Warn"`)
}

function decode(
  contentType: string | undefined,
  bytes: Buffer,
  { kind, ...options }: JsonOptions & { readonly kind: string },
): { object: KubeObject; duplicates: readonly string[] } {
  const { type } = parseMediaType(contentType ?? 'application/json')
  try {
    switch (type) {
      case 'application/json':
      case '*/*':
      case '':
        return decodeJson(bytes, options)
      case 'application/yaml':
        return { object: asObject(parseManifests(bytes.toString('utf8'), 'manifest', options)[0]), duplicates: [] }
      case 'application/vnd.kubernetes.protobuf':
        return { object: decodeProtobuf(bytes), duplicates: [] }
    }
  } catch (error) {
    const why = error instanceof Error ? error.message : String(error)
    throw badRequest(`the object provided is unrecognized (must be of type ${kind}): ${why} (${summarize(bytes)})`)
  }
  throw unsupportedMediaType(accepted)
}

function decodeJson(bytes: Buffer, options: JsonOptions): { object: KubeObject; duplicates: readonly string[] } {
  try {
    const { value, duplicates } = parseJson(bytes, options)
    return { object: asObject(value), duplicates }
  } catch (error) {
    const { message } = error instanceof Error && error.cause instanceof Error ? error.cause : (error as Error)
    throw new SyntaxError(`couldn't get version/kind; json parse error: ${message}`, { cause: error })
  }
}

function asObject(value: unknown): KubeObject {
  if (!isRecord(value)) throw new TypeError('the body is not an object')
  return value as unknown as KubeObject
}

const summaryBytes = 30

/** The beginning of what was sent, as upstream tells of it. */
function summarize(bytes: Buffer): string {
  if (bytes.length === 0) return '<empty>'
  const head = bytes.subarray(0, summaryBytes).toString(bytes[0] === 0x7b ? 'utf8' : 'hex')
  return bytes.length > summaryBytes ? `${head} ...` : head
}

function checkKind(object: KubeObject, expected: Pick<KindInfo, 'apiVersion' | 'kind'>): void {
  if (object.kind !== expected.kind) {
    throw badRequest(`${object.kind} in version "${object.apiVersion}" cannot be handled as a ${expected.kind}`)
  }
  if (object.apiVersion !== expected.apiVersion) {
    throw badRequest(
      `the API version in the data (${object.apiVersion}) does not match the expected API version (${expected.apiVersion})`,
    )
  }
}

interface Findings {
  /** Told before what is found in the object, and after it. */
  readonly before?: readonly string[] | undefined
  readonly after?: readonly string[] | undefined
  /** The answer when it cannot be taken. Default 400. */
  readonly refuse?: ((why: string) => StatusError) | undefined
  /** How values of the wrong type are told of. Default `decoding`. */
  readonly words?: TypeWords | undefined
}

function checkFields(
  object: KubeObject,
  { custom }: BodyKind,
  strictness: Strictness,
  { before = [], after = [], refuse = (why) => notHandled(object, why), words }: Findings = {},
): Decoded {
  // Null may mean something to a schema; in metadata, and everywhere in built-in objects, it means nothing.
  if (custom === undefined) dropNulls(object)
  else {
    dropNulls(object.metadata)
    checkDepth(object)
  }
  const { unknown, wrong } = custom === undefined ? checkTable(object, words) : custom.read(object)
  if (unknown.length + wrong.length + before.length + after.length === 0) return { object, warnings: [] }
  if (wrong.length > 0) throw refuse(words === 'conversion' ? `${wrong[0]}` : `json: ${wrong[0]}`)
  const findings = [...before, ...unknown.map((path) => `unknown field "${path}"`), ...after]
  if (strictness === 'Ignore') return { object, warnings: [] }
  if (strictness === 'Strict') throw refuse(`strict decoding error: ${findings.join(', ')}`)
  return { object, warnings: findings }
}

function notHandled({ kind, apiVersion }: KubeObject, why: string): StatusError {
  return badRequest(`${kind} in version "${versionOf(apiVersion)}" cannot be handled as a ${kind}: ${why}`)
}

function checkTable(object: KubeObject, words?: TypeWords): { unknown: string[]; wrong: string[] } {
  const definition = findDefinition(object.apiVersion, object.kind)
  if (definition === undefined) return { unknown: [], wrong: [] }
  const found = validateFields(definition, object, { words })
  if (found.unknown.length > 0) pruneFields(definition, object)
  return found
}

function versionOf(apiVersion: string): string {
  return apiVersion.slice(apiVersion.indexOf('/') + 1)
}

/** No object of the API comes near; what walks objects is recursive. */
const maxDepth = 500

/** Go clients write null where they have nothing. */
function dropNulls(value: unknown, depth = 0): void {
  if (depth > maxDepth) throw badRequest(`the object is nested more than ${maxDepth} levels deep`)
  if (Array.isArray(value)) {
    for (const item of value) dropNulls(item, depth + 1)
    return
  }
  if (!isRecord(value)) return
  for (const key in value) {
    const child = value[key]
    if (child === null) delete value[key]
    else if (typeof child === 'object') dropNulls(child, depth + 1)
  }
}

function checkDepth(value: unknown, depth = 0): void {
  if (typeof value !== 'object' || value === null) return
  if (depth > maxDepth) throw badRequest(`the object is nested more than ${maxDepth} levels deep`)
  for (const child of Object.values(value)) checkDepth(child, depth + 1)
}

/** Removes fields that the definition does not know: what is stored is what the types say. */
export function pruneFields(definition: string, value: unknown): void {
  if (!isRecord(value)) return
  const fields = fieldsOf(definition)
  for (const [key, child] of Object.entries(value)) {
    const field = fields.get(key)
    if (field === undefined) delete value[key]
    else if (field.ref !== undefined) pruneField(field, field.ref, child)
  }
}

function pruneField(field: FieldInfo, ref: string, value: unknown): void {
  if (Array.isArray(value)) for (const item of value) pruneField(field, ref, item)
  else if (field.map && isRecord(value)) for (const child of Object.values(value)) pruneFields(ref, child)
  else pruneFields(ref, value)
}

function isRecord(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}
