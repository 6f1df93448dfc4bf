import { randomInt } from 'node:crypto'
import { isJsonObject } from '../json-value.ts'
import { inOrder } from './field-set.ts'
import type { FieldSet } from './field-set.ts'
import { FieldsText } from './fields-text.ts'
import { elementName } from './path-element.ts'
import { narrow } from './merge-type.ts'
import { isEmptyOrNull, isZeroMap, presentIn } from './value.ts'
import type { JsonObject } from '../json-value.ts'
import type { MergeField, MergeList, MergeMap, MergeType } from './merge-type.ts'

/** Whether somebody can own a field; asked at the root, with no parent, and one level below. */
export type Ownable = (element: string, parent: string) => boolean

/**
 * Fields of a new object as `FieldsV1` text: what a comparison with the object that is not there yet finds; undefined
 * when that is nothing.
 *
 * Every create asks, and most objects have the shape of the one before: the object is walked once for a hash of its shape,
 * and the text is made only for shapes that are not known. The hash has 64 bits and a seed of its own in every process.
 */
export function createdFields(type: MergeType, value: unknown, isOwnable: Ownable): FieldsText | undefined {
  if (type.map === undefined || !isJsonObject(value)) return undefined
  const hash = new ShapeHash()
  writeFields(hash, type.map, value, isOwnable, '')
  const shapes = shapesOf(type)
  let fields = shapes.get(hash.value)
  if (fields === undefined) {
    const text = new ShapeText()
    writeFields(text, type.map, value, isOwnable, '')
    fields = new FieldsText(JSON.stringify(inOrder(JSON.parse(text.value) as FieldSet)))
    if (shapes.size >= maxShapes) shapes.clear()
    shapes.set(hash.value, fields)
  }
  return fields.text === '{}' ? undefined : fields
}

const maxShapes = 200
const shapesByType = new WeakMap<MergeType, Map<string, FieldsText>>()

function shapesOf(type: MergeType): Map<string, FieldsText> {
  let shapes = shapesByType.get(type)
  if (shapes === undefined) {
    shapes = new Map()
    shapesByType.set(type, shapes)
  }
  return shapes
}

/** What is told of a new object: nodes in the order of the object, each between `open` and `close`. */
interface Shape {
  open(element: string, isMember: boolean): void
  close(): void
}

class ShapeText implements Shape {
  #text = ''
  /** What has to be written before the next node: the membership of a node that turns out to have more, or a comma. */
  #before = ''

  get value(): string {
    return `{${this.#text}}`
  }

  open(element: string, isMember: boolean): void {
    this.#text += `${this.#before}${JSON.stringify(element)}:{`
    this.#before = isMember ? '".":{},' : ''
  }

  close(): void {
    this.#text += '}'
    this.#before = ','
  }
}

const [seed, otherSeed] = [randomInt(2 ** 32), randomInt(2 ** 32)]
const maxHashes = 20_000
const hashes = new Map<string, number>()

class ShapeHash implements Shape {
  #a = seed
  #b = otherSeed

  get value(): string {
    return `${this.#a}:${this.#b}`
  }

  open(element: string, isMember: boolean): void {
    const hash = hashOf(element)
    this.#a = Math.imul(this.#a ^ hash, 0x9e3779b1) + (isMember ? 1 : 2)
    this.#b = Math.imul((this.#b << 5) ^ (this.#b >>> 27) ^ hash, 0x85ebca77)
  }

  close(): void {
    this.#a = Math.imul(this.#a ^ 0x5bd1e995, 0x27d4eb2f)
    this.#b = (this.#b << 7) ^ (this.#b >>> 25) ^ 0x165667b1
  }
}

/** Names come again and again; the hash of each is kept for a while. */
function hashOf(element: string): number {
  let hash = hashes.get(element)
  if (hash === undefined) {
    hash = seed
    for (let index = 0; index < element.length; index += 1)
      hash = Math.imul(hash ^ element.charCodeAt(index), 0x01000193)
    if (hashes.size >= maxHashes) hashes.clear()
    hashes.set(element, hash)
  }
  return hash
}

const elements = new Map<string, string>()

/** The element of a key that is no field of its own: the same ones come again, and each new text would be hashed anew. */
function elementOf(key: string): string {
  let element = elements.get(key)
  if (element === undefined) {
    element = `f:${key}`
    if (elements.size >= maxHashes) elements.clear()
    elements.set(key, element)
  }
  return element
}

/** A value where nothing was before: it belongs to its writer with all that is below it. */
function writeAdded(shape: Shape, element: string, type: MergeType, value: unknown): void {
  const { map, scalar, list } = narrow(type, value)
  shape.open(element, true)
  if (map !== undefined) {
    if (!map.isAtomic && isJsonObject(value)) writeAddedKeys(shape, map, value)
  } else if (scalar === undefined && list !== undefined && !list.isAtomic && Array.isArray(value)) {
    writeItems(shape, list, value)
  }
  shape.close()
}

function writeAddedKeys(shape: Shape, map: MergeMap, value: JsonObject): void {
  for (const key in value) {
    const field = map.fields.get(key)
    const type = field?.type ?? map.element
    const child = presentIn(value, key, field)
    if (type !== undefined && child !== undefined) writeAdded(shape, field?.element ?? elementOf(key), type, child)
  }
  for (const field of map.present) {
    if (value[field.name] === undefined) writeAdded(shape, field.element, field.type, field.zero)
  }
}

/** A field whose zero was there before: only what is more belongs to the writer. */
function writeChanged(shape: Shape, field: MergeField, value: unknown, isOwnable: Ownable | undefined): void {
  const { map, scalar, list } = narrow(field.type, value)
  if (map !== undefined) writeChangedMap(shape, field, map, value, isOwnable)
  else if (scalar !== undefined || list === undefined) {
    if (value !== field.zero) writeLeaf(shape, field.element)
  } else if (!isEmptyOrNull(value)) {
    if (list.isAtomic || !Array.isArray(value)) return writeLeaf(shape, field.element)
    shape.open(field.element, false)
    writeItems(shape, list, value)
    shape.close()
  }
}

function writeChangedMap(
  shape: Shape,
  { element }: MergeField,
  map: MergeMap,
  value: unknown,
  isOwnable: Ownable | undefined,
): void {
  if (!isJsonObject(value) || isZeroMap(map, value)) return
  if (map.isAtomic) return writeLeaf(shape, element)
  if (isOwnable !== undefined && !ownsSome(value, element, isOwnable)) return
  shape.open(element, false)
  writeFields(shape, map, value, isOwnable, element)
  shape.close()
}

function ownsSome(value: JsonObject, parent: string, isOwnable: Ownable): boolean {
  for (const key in value) if (value[key] !== undefined && isOwnable(elementOf(key), parent)) return true
  return false
}

function writeLeaf(shape: Shape, element: string): void {
  shape.open(element, true)
  shape.close()
}

/** What is below a struct that was there before, with nothing but zeros in it. */
function writeFields(
  shape: Shape,
  map: MergeMap,
  value: JsonObject,
  isOwnable: Ownable | undefined,
  parent: string,
): void {
  for (const key in value) {
    const field = map.fields.get(key)
    const type = field?.type ?? map.element
    const child = presentIn(value, key, field)
    if (type === undefined || child === undefined) continue
    const element = field?.element ?? elementOf(key)
    if (isOwnable !== undefined && !isOwnable(element, parent)) continue
    // Below the second level everything counts.
    if (field?.zero === undefined) writeAdded(shape, element, type, child)
    else writeChanged(shape, field, child, parent === '' ? isOwnable : undefined)
  }
}

function writeItems(shape: Shape, list: MergeList, items: readonly unknown[]): void {
  if (items.length === 1) return writeAdded(shape, nameOf(list, items[0]), list.element, items[0])
  const names = items.map((item) => nameOf(list, item))
  if (new Set(names).size === names.length) {
    names.forEach((name, index) => writeAdded(shape, name, list.element, items[index]))
    return
  }
  // Elements that share a name are owned together.
  const counts = new Map<string, number>()
  for (const name of names) counts.set(name, (counts.get(name) ?? 0) + 1)
  for (const [index, name] of names.entries()) {
    const count = counts.get(name)
    if (count === 1) writeAdded(shape, name, list.element, items[index])
    else if (counts.delete(name)) writeLeaf(shape, name)
  }
}

const maxNames = 2000
const namesByList = new WeakMap<MergeList, Map<string, string>>()

/** The name of an element; the same ones come again with every object of a kind. */
function nameOf(list: MergeList, item: unknown): string {
  const [key] = list.keys
  const value = list.keys.length === 1 && key !== undefined && isJsonObject(item) ? item[key] : undefined
  if (typeof value !== 'string') return elementName(list, item)
  let known = namesByList.get(list)
  if (known === undefined || known.size > maxNames) {
    known = new Map()
    namesByList.set(list, known)
  }
  let name = known.get(value)
  if (name === undefined) {
    name = elementName(list, item)
    known.set(value, name)
  }
  return name
}
