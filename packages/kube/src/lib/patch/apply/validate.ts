import { isJsonObject } from '../json-value.ts'
import { goTypeOf, renderGo } from '../go-format.ts'
import { elementName, renderElement } from './path-element.ts'
import { narrow, typeOfKey } from './merge-type.ts'
import type { MergeList, MergeMap, MergeType, ScalarKind } from './merge-type.ts'

/** What keeps a configuration from being applied, worded as upstream words it: `.spec.replicas: expected numeric...`. */
export function validateTyped(type: MergeType, value: unknown): string[] {
  const errors: Finding[] = []
  check(type, value, [], errors)
  return errors.map(({ path, message }) => (path === '' ? message : `${path}: ${message}`))
}

/** One text for all findings. */
export function renderFindings(errors: readonly string[]): string {
  return errors.length === 1 ? (errors[0] ?? '') : ['errors:', ...errors.map((text) => `  ${text}`)].join('\n')
}

interface Finding {
  readonly path: string
  readonly message: string
}

function check(type: MergeType, value: unknown, path: string[], errors: Finding[]): void {
  const form = narrow(type, value)
  const report = (message: string): void => void errors.push({ path: path.map(renderElement).join(''), message })
  if (form.map !== undefined) return checkMap(form.map, value, path, errors, report)
  if (form.scalar !== undefined) {
    const wrong = checkScalar(form.scalar, value)
    if (wrong !== undefined) report(wrong)
  } else if (form.list !== undefined) checkList(form.list, value, path, errors, report)
}

function checkMap(
  map: MergeMap,
  value: unknown,
  path: string[],
  errors: Finding[],
  report: (message: string) => void,
): void {
  if (value === null) return
  if (!isJsonObject(value)) return report(`expected map, got &{${renderGo(value)}}`)
  for (const [key, child] of Object.entries(value)) {
    const type = typeOfKey(map, key)
    path.push(`f:${key}`)
    if (type !== undefined) check(type, child, path, errors)
    else {
      errors.push({ path: path.map(renderElement).join(''), message: 'field not declared in schema' })
      path.pop()
      // Upstream looks no further in this map.
      return
    }
    path.pop()
  }
}

function checkList(
  list: MergeList,
  value: unknown,
  path: string[],
  errors: Finding[],
  report: (message: string) => void,
): void {
  if (value === null) return
  if (!Array.isArray(value)) return report(`expected list, got &{${renderGo(value)}}`)
  const seen = new Set<string>()
  for (const [index, item] of value.entries()) {
    let name = `i:${index}`
    if (!list.isAtomic) {
      try {
        name = elementName(list, item)
      } catch (error) {
        return report(`element ${index}: ${error instanceof Error ? error.message : String(error)}`)
      }
      if (seen.has(name)) report(`duplicate entries for key ${renderElement(name)}`)
      seen.add(name)
    }
    path.push(name)
    check(list.element, item, path, errors)
    path.pop()
  }
}

function checkScalar(kind: ScalarKind, value: unknown): string | undefined {
  if (value === null) return undefined
  const type = typeof value
  switch (kind) {
    case 'numeric':
      return type === 'number' || type === 'bigint'
        ? undefined
        : `expected numeric (int or float), got ${goTypeOf(value)}`
    case 'string':
      return type === 'string' ? undefined : `expected string, got &value.valueUnstructured{Value:${renderGo(value)}}`
    case 'boolean':
      return type === 'boolean' ? undefined : `expected boolean, got &{${renderGo(value)}}`
    case 'untyped':
      return type === 'object' ? `expected any scalar, got &{${renderGo(value)}}` : undefined
  }
}
