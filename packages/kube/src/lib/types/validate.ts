import { fieldsOf } from './fields.ts'
import type { FieldInfo } from './notation.ts'

/**
 * Checks an object against a definition as Kubernetes' strict decoding does.
 *
 * `unknown` holds dotted paths (`spec.template.spec.containers[0].imag`). `wrong` holds one sentence per value of the
 * wrong JSON type, worded as the API server words it (`cannot unmarshal string into Go struct field
 * DeploymentSpec.spec.replicas of type int32`). Null counts as absent, as Go clients send it for empty values.
 */
export function validateFields(definition: string, object: unknown): { unknown: string[]; wrong: string[] } {
  const found = { unknown: [], wrong: [] } satisfies Findings as Findings
  checkObject(definition, object, '', shortName(definition), found)
  return found
}

interface Findings {
  unknown: string[]
  wrong: string[]
}

function checkObject(definition: string, value: unknown, path: string, owner: string, found: Findings): void {
  if (value === null || value === undefined) return
  if (!isRecord(value)) {
    found.wrong.push(mismatch(value, path, owner, shortName(definition)))
    return
  }
  const fields = fieldsOf(definition)
  // for-in and late paths: this runs on every write, and nearly every field is a good scalar.
  for (const key in value) {
    const child = value[key]
    const field = fields.get(key)
    if (field !== undefined && isPlain(field) && (child === null || accepts(field, child))) continue
    const childPath = path === '' ? key : `${path}.${key}`
    if (field === undefined) found.unknown.push(childPath)
    else checkField(field, child, childPath, shortName(definition), found)
  }
}

function isPlain(field: FieldInfo): boolean {
  return isScalar(field) && !field.list && !field.map
}

function isScalar(field: FieldInfo): boolean {
  return field.ref === undefined
}

function checkField(field: FieldInfo, value: unknown, path: string, owner: string, found: Findings): void {
  if (value === null || value === undefined) return
  if (field.map) {
    if (!isRecord(value)) return void found.wrong.push(mismatch(value, path, owner, 'map[string]'))
    for (const key in value) {
      const child = value[key]
      if (isScalar(field) && !field.list && (child === null || accepts(field, child))) continue
      if (field.list) checkList(field, child, `${path}.${key}`, owner, found)
      else checkElement(field, child, `${path}.${key}`, owner, found)
    }
    return
  }
  if (field.list) checkList(field, value, path, owner, found)
  else checkElement(field, value, path, owner, found)
}

function checkList(field: FieldInfo, value: unknown, path: string, owner: string, found: Findings): void {
  if (value === null) return
  if (!Array.isArray(value)) return void found.wrong.push(mismatch(value, path, owner, `[]${goType(field)}`))
  for (let index = 0; index < value.length; index += 1) {
    const child: unknown = value[index]
    if (isScalar(field) && (child === null || accepts(field, child))) continue
    checkElement(field, child, `${path}[${index}]`, owner, found)
  }
}

function checkElement(field: FieldInfo, value: unknown, path: string, owner: string, found: Findings): void {
  if (value === null) return
  if (field.ref !== undefined) return checkObject(field.ref, value, path, owner, found)
  if (!accepts(field, value)) found.wrong.push(mismatch(value, path, owner, goType(field)))
}

function accepts(field: FieldInfo, value: unknown): boolean {
  switch (field.type) {
    case 'string':
    case 'bytes':
    case 'time':
    case 'microTime':
      return typeof value === 'string'
    case 'integer':
      return Number.isInteger(value) && (field.format !== 'int32' || Math.abs(Number(value)) <= 2 ** 31)
    case 'number':
      return typeof value === 'number' || typeof value === 'bigint'
    case 'boolean':
      return typeof value === 'boolean'
    case 'intOrString':
      return typeof value === 'string' || Number.isInteger(value)
    case 'quantity':
      return typeof value === 'string' || typeof value === 'number'
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

function mismatch(value: unknown, path: string, owner: string, expected: string): string {
  const place = path.replaceAll(/\[\d+\]/g, '')
  return `cannot unmarshal ${jsonType(value)} into Go struct field ${owner}.${place} of type ${expected}`
}

function jsonType(value: unknown): string {
  if (Array.isArray(value)) return 'array'
  if (typeof value === 'boolean') return 'bool'
  return typeof value === 'number' && !Number.isInteger(value) ? `number ${value}` : typeof value
}

function shortName(definition: string): string {
  return definition.slice(definition.lastIndexOf('.') + 1)
}

function isRecord(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}
