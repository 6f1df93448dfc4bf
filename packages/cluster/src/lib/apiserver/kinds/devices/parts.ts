import { renderExactJson } from '@fairlead/kube/codec'
import { isDeepStrictEqual } from 'node:util'
import type { OpaqueDeviceConfiguration } from '@fairlead/kube/types/resource-v1'

import type { FieldError } from '../../status.ts'
import { duplicate, invalid, required, tooLong, tooMany } from '../field-errors.ts'
import { csiDriverName, dnsSubdomain } from '../names.ts'

/** The most devices that one claim can be given. */
export const mostResults = 32
export const mostConfigurations = 32
const longestParameters = 10 * 1024
const longestId = 32
const longestKey = 63 + 1 + longestId

type Judge<T> = (item: T, field: string) => FieldError[]

/** Judges each item; of a list that is too long only that is told. */
export function each<T>(items: readonly T[] | undefined, most: number, field: string, judge: Judge<T>): FieldError[] {
  if (items === undefined) return []
  if (items.length > most) return [tooMany(field, items.length, most)]
  return items.flatMap((item, index) => judge(item, `${field}[${index}]`))
}

/** {@link each} of a list in which nothing may be twice; `keyOf` tells what an item is known by. */
export function eachOnce<T>(
  items: readonly T[] | undefined,
  most: number,
  field: string,
  judge: Judge<T>,
  keyOf: (item: T) => unknown,
): FieldError[] {
  const errors = each(items, most, field, judge)
  if (items === undefined || items.length > most) return errors
  const keys = items.map(keyOf)
  const repeated = keys.flatMap((key, index) =>
    keys.slice(0, index).some((other) => isDeepStrictEqual(other, key)) ? [duplicate(`${field}[${index}]`, key)] : [],
  )
  return [...errors, ...repeated]
}

/** Judges keys and values of a map; a long key is shown in part, in the middle of which it is cut. */
export function eachEntry<T>(
  map: Readonly<Record<string, T>> | undefined,
  field: string,
  judgeKey: Judge<string>,
  judge: Judge<T>,
  longestShown: number = longestKey,
): FieldError[] {
  return Object.entries(map ?? {}).flatMap(([key, value]) => [
    ...judgeKey(key, field),
    ...judge(value, `${field}[${shorten(key, longestShown)}]`),
  ])
}

function shorten(key: string, longest: number): string {
  if (key.length <= longest) return key
  const left = longest - 3
  return `${key.slice(0, Math.floor((left + 1) / 2))}...${key.slice(key.length - Math.floor(left / 2))}`
}

const identifier = /^[A-Za-z_][A-Za-z0-9_]*$/
const identifierRule =
  "a valid C identifier must start with alphabetic character or '_', followed by a string of alphanumeric characters or '_' (e.g. 'my_name',  or 'MY_NAME',  or 'MyName', regex used for validation is '[A-Za-z_][A-Za-z0-9_]*')"

function cIdentifier(field: string, name: string): FieldError[] {
  return [
    ...(name.length > longestId ? [tooLong(field, longestId)] : []),
    ...(identifier.test(name) ? [] : [invalid(field, name, identifierRule)]),
  ]
}

/** The name of an attribute or capacity: an identifier, with the domain of who defines it before it or not. */
export function attributeName(name: string, field: string): FieldError[] {
  const [first = '', second, ...more] = name.split('/')
  if (second === undefined) return cIdentifier(field, first)
  // Upstream lets names with more slashes pass.
  if (more.length > 0) return []
  return [
    ...(first === '' ? [invalid(field, '', 'the domain must not be empty')] : csiDriverName(field, first)),
    ...(second === '' ? [invalid(field, '', 'the name must not be empty')] : cIdentifier(field, second)),
  ]
}

/** {@link attributeName} with its domain. */
export function fullAttributeName(name: string, field: string): FieldError[] {
  const why = 'a fully qualified name must be a domain and a name separated by a slash'
  return [...attributeName(name, field), ...(name.includes('/') ? [] : [invalid(field, name, why)])]
}

export function poolName(field: string, name: string): FieldError[] {
  if (name === '') return [required(field)]
  return [
    ...(name.length > 253 ? [tooLong(field, 253)] : []),
    ...name.split('/').flatMap((part) => dnsSubdomain(field, part)),
  ]
}

/** What only a driver understands; `isKept` where it is as it was stored, whatever its size. */
export function validateConfiguration(
  { opaque }: { opaque?: OpaqueDeviceConfiguration | undefined },
  field: string,
  isKept = false,
): FieldError[] {
  if (opaque === undefined) return [required(`${field}.opaque`)]
  return [
    ...csiDriverName(`${field}.opaque.driver`, opaque.driver),
    ...validateData(opaque.parameters, `${field}.opaque.parameters`, isKept),
  ]
}

export function validateData(data: unknown, field: string, isKept = false): FieldError[] {
  if (data === undefined || data === null) return [required(field)]
  if (!isKept && Buffer.byteLength(renderExactJson(data)) > longestParameters)
    return [tooLong(field, longestParameters)]
  const isObject = typeof data === 'object' && !Array.isArray(data)
  return isObject ? [] : [invalid(field, '<value omitted>', 'must be a valid JSON object')]
}
