import { renderExactJson } from '@fairlead/kube/codec'
import type { KubeObject } from '@fairlead/kube/types'
import type { CustomResourceColumnDefinition } from '@fairlead/kube/types/apiextensions-v1'

import { age, ageColumn, nameColumn } from '../kinds/printing.ts'
import type { KindStrategy, TableColumn } from '../strategy.ts'
import { parseJsonPath } from './json-path.ts'
import type { JsonPath } from './json-path.ts'

/** What `kubectl get` shows of a custom resource: its name and the columns of its definition, or its age. */
export function printerOf(columns: readonly CustomResourceColumnDefinition[]): Pick<KindStrategy, 'columns' | 'row'> {
  if (columns.length === 0) {
    return {
      columns: [nameColumn, ageColumn],
      row: ({ metadata }, now) => [metadata.name, age(metadata.creationTimestamp, now)],
    }
  }
  const cells = columns.map(({ jsonPath, type }) => ({ path: parseColumnPath(jsonPath), type }))
  return {
    columns: [nameColumn, ...columns.map(toColumn)],
    row: (object, now) => [object.metadata.name, ...cells.map(({ path, type }) => cellOf(object, path, type, now))],
  }
}

function toColumn(column: CustomResourceColumnDefinition): TableColumn {
  const { name, type, format = '', description = '', priority = 0, jsonPath } = column
  const text = description === '' ? `Custom resource definition column (in JSONPath format): ${jsonPath}` : description
  return { name, type, format, description: text, priority }
}

/** A path nobody can read shows nothing; the rest of the table is still good. */
function parseColumnPath(text: string): JsonPath {
  try {
    return parseJsonPath(text)
  } catch {
    return { find: () => [] }
  }
}

function cellOf(object: KubeObject, path: JsonPath, type: string, now: number): unknown {
  const [value] = path.find(object)
  if (value === undefined) return null
  if (type === 'string') return renderText(value)
  if (type === 'integer') return integerOf(value)
  if (type === 'number') return typeof value === 'number' || typeof value === 'bigint' ? Number(value) : null
  if (type === 'boolean') return typeof value === 'boolean' ? value : null
  if (type !== 'date' || typeof value !== 'string') return null
  return Number.isNaN(Date.parse(value)) ? '<invalid>' : age(value, now)
}

function integerOf(value: unknown): number | bigint | null {
  if (typeof value === 'bigint') return value
  return typeof value === 'number' ? Math.trunc(value) : null
}

function renderText(value: unknown): string {
  if (typeof value === 'string') return value
  return value === null ? '' : renderExactJson(value)
}
