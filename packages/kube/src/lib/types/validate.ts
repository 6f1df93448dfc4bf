import { fieldsOf } from './fields.ts'
import type { FieldInfo } from './notation.ts'

/**
 * Checks an object against a definition as Kubernetes' strict decoding does.
 *
 * `unknown` holds dotted paths (`spec.template.spec.containers[0].imag`). `wrong` holds one sentence per value of the
 * wrong JSON type, worded as the API server words it (`cannot unmarshal string into Go struct field
 * DeploymentSpec.spec.replicas of type int32`), or with the words `conversion` as it words what a strategic merge made
 * (`cannot restore map from string`). Null counts as absent, as Go clients send it for empty values.
 */
export function validateFields(
  definition: string,
  object: unknown,
  { words = 'decoding' }: { readonly words?: TypeWords | undefined } = {},
): { unknown: string[]; wrong: string[] } {
  const found: Findings = { unknown: [], wrong: [], words, path: [] }
  checkObject(definition, object, definition, found)
  const { unknown, wrong } = found
  return { unknown, wrong }
}

/** By which of its two ways the API server made an object of the type: it decoded JSON, or converted a map. */
export type TypeWords = 'decoding' | 'conversion'

// for-in, and paths that become text where something is found: this runs on every write, and nearly every field is good.
interface Findings {
  readonly unknown: string[]
  readonly wrong: string[]
  readonly words: TypeWords
  /** Keys and indices that lead to the value that is looked at. */
  readonly path: (string | number)[]
}

interface Mismatch {
  readonly value: unknown
  /** The definition that the field is of. */
  readonly owner: string
  readonly expected: string
}

function checkObject(definition: string, value: unknown, owner: string, found: Findings): void {
  if (value === null || value === undefined) return
  if (!isRecord(value)) {
    addMismatch(found, { value, owner, expected: shortName(definition) }, 'struct')
    return
  }
  const fields = fieldsOf(definition)
  for (const key in value) {
    const child = value[key]
    const field = fields.get(key)
    if (field !== undefined && isPlain(field) && (child === null || accepts(field, child))) continue
    found.path.push(key)
    if (field === undefined) found.unknown.push(renderPath(found.path))
    else checkField(field, child, definition, found)
    found.path.pop()
  }
}

function renderPath(path: Findings['path']): string {
  let text = ''
  for (const step of path) text += typeof step === 'number' ? `[${step}]` : text === '' ? step : `.${step}`
  return text
}

function isPlain(field: FieldInfo): boolean {
  return isScalar(field) && !field.list && !field.map
}

function isScalar(field: FieldInfo): boolean {
  return field.ref === undefined
}

function checkField(field: FieldInfo, value: unknown, owner: string, found: Findings): void {
  if (value === null || value === undefined) return
  if (field.map) {
    if (!isRecord(value)) return addMismatch(found, { value, owner, expected: 'map[string]' }, 'map')
    for (const key in value) {
      const child = value[key]
      if (isScalar(field) && !field.list && (child === null || accepts(field, child))) continue
      found.path.push(key)
      if (field.list) checkList(field, child, owner, found)
      else checkElement(field, child, owner, found)
      found.path.pop()
    }
    return
  }
  if (field.list) checkList(field, value, owner, found)
  else checkElement(field, value, owner, found)
}

function checkList(field: FieldInfo, value: unknown, owner: string, found: Findings): void {
  if (value === null) return
  if (!Array.isArray(value)) return addMismatch(found, { value, owner, expected: `[]${goType(field)}` }, 'slice')
  for (let index = 0; index < value.length; index += 1) {
    const child: unknown = value[index]
    if (isScalar(field) && (child === null || accepts(field, child))) continue
    found.path.push(index)
    checkElement(field, child, owner, found)
    found.path.pop()
  }
}

function checkElement(field: FieldInfo, value: unknown, owner: string, found: Findings): void {
  if (value === null) return
  if (field.ref !== undefined) return checkObject(field.ref, value, owner, found)
  if (!accepts(field, value)) addMismatch(found, { value, owner, expected: goType(field) }, shapeOf(field))
}

function accepts(field: FieldInfo, value: unknown): boolean {
  switch (field.type) {
    case 'string':
    case 'bytes':
    case 'time':
    case 'microTime':
      return typeof value === 'string'
    case 'integer':
      if (field.format === 'int32') return Number.isInteger(value) && Math.abs(Number(value)) <= 2 ** 31
      return typeof value === 'bigint' || (Number.isInteger(value) && Math.abs(Number(value)) < 2 ** 63)
    case 'number':
      return typeof value === 'number' || typeof value === 'bigint'
    case 'boolean':
      return typeof value === 'boolean'
    case 'intOrString':
      return typeof value === 'string' || Number.isInteger(value)
    case 'quantity':
      return typeof value === 'string' || typeof value === 'number' || typeof value === 'bigint'
    case 'object':
      return isRecord(value)
    default:
      return true
  }
}

function goType(field: FieldInfo): string {
  if (field.ref !== undefined) return shortName(field.ref)
  const named: Record<string, string> = {
    integer: field.format ?? 'int64',
    number: 'float64',
    boolean: 'bool',
    bytes: '[]uint8',
    time: 'Time',
    microTime: 'MicroTime',
    intOrString: 'IntOrString',
    quantity: 'Quantity',
    object: 'map[string]interface {}',
  }
  return named[field.type] ?? field.type
}

type Shape = 'struct' | 'map' | 'slice' | 'scalar' | 'own'

/** Types that read JSON by a method of their own are told of by its words, however the rest is. */
function shapeOf({ type }: FieldInfo): Shape {
  if (type === 'object') return 'map'
  if (type === 'bytes') return 'slice'
  return ['time', 'microTime', 'intOrString', 'quantity'].includes(type) ? 'own' : 'scalar'
}

function addMismatch({ wrong, words, path }: Findings, mismatch: Mismatch, shape: Shape): void {
  wrong.push(words === 'conversion' && shape !== 'own' ? wordConversion(mismatch, shape) : wordDecoding(mismatch, path))
}

function wordDecoding({ value, owner, expected }: Mismatch, path: Findings['path']): string {
  const place = path.filter((step) => typeof step === 'string').join('.')
  return `cannot unmarshal ${jsonType(value)} into Go struct field ${shortName(owner)}.${place} of type ${expected}`
}

/** The words of apimachinery's converter (pkg/runtime/converter.go). */
function wordConversion({ value, expected }: Mismatch, shape: Exclude<Shape, 'own'>): string {
  const found = goKind(value)
  if (shape === 'struct') return `cannot restore struct from: ${found}`
  if (shape !== 'scalar') return `cannot restore ${shape} from ${found}`
  // To Go a number can be made of another one, and a text of an integer.
  const isConvertible = typeof value === 'number' && (expected !== 'string' || found === 'int64') && expected !== 'bool'
  return isConvertible ? `cannot convert ${found} to ${expected}` : `unrecognized type: ${expected}`
}

function goKind(value: unknown): string {
  if (typeof value === 'number') return Number.isInteger(value) ? 'int64' : 'float64'
  if (typeof value === 'boolean') return 'bool'
  if (typeof value === 'string') return 'string'
  return Array.isArray(value) ? 'slice' : 'map'
}

function jsonType(value: unknown): string {
  if (Array.isArray(value)) return 'array'
  if (typeof value === 'boolean') return 'bool'
  if (typeof value === 'bigint') return `number ${value}`
  return typeof value === 'number' && !Number.isSafeInteger(value) ? `number ${value}` : typeof value
}

function shortName(definition: string): string {
  return definition.slice(definition.lastIndexOf('.') + 1)
}

function isRecord(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}
