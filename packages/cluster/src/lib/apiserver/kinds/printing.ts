import type { LabelSelector } from '@fairlead/kube/types'
import type { PodSpec } from '@fairlead/kube/types/core-v1'

import type { TableColumn } from '../strategy.ts'

/** The columns every kind begins and most end with. */
export const nameColumn: TableColumn = {
  name: 'Name',
  type: 'string',
  format: 'name',
  description: 'Name must be unique within a namespace.',
  priority: 0,
}
export const ageColumn: TableColumn = column('Age')

/** A column `kubectl get` shows. */
export function column(name: string, type: 'string' | 'integer' | 'boolean' = 'string'): TableColumn {
  return { name, type, format: '', description: '', priority: 0 }
}

/** A column only `kubectl get -o wide` shows. */
export function wideColumn(name: string, type: 'string' | 'integer' = 'string'): TableColumn {
  return { name, type, format: '', description: '', priority: 1 }
}

/** Age of a timestamp as kubectl prints it (`5m30s`, `3d4h`); `<unknown>` when there is none. */
export function age(timestamp: string | undefined, now: number): string {
  if (timestamp === undefined || timestamp === '') return '<unknown>'
  return duration(now - Date.parse(timestamp))
}

/** Two units at most, the second one only while it matters. */
export function duration(milliseconds: number): string {
  const seconds = Math.trunc(milliseconds / 1000)
  if (seconds < -1) return '<invalid>'
  if (seconds < 120) return `${Math.max(seconds, 0)}s`
  const minutes = Math.floor(seconds / 60)
  if (minutes < 10) return pair(minutes, 'm', seconds % 60, 's')
  if (minutes < 180) return `${minutes}m`
  const hours = Math.floor(minutes / 60)
  if (hours < 8) return pair(hours, 'h', minutes % 60, 'm')
  if (hours < 48) return `${hours}h`
  const days = Math.floor(hours / 24)
  if (hours < 192) return pair(days, 'd', hours % 24, 'h')
  if (days < 730) return `${days}d`
  const years = Math.floor(days / 365)
  return years < 8 ? pair(years, 'y', days % 365, 'd') : `${years}y`
}

function pair(large: number, largeUnit: string, small: number, smallUnit: string): string {
  return small === 0 ? `${large}${largeUnit}` : `${large}${largeUnit}${small}${smallUnit}`
}

export function orNone(text: string | undefined): string {
  return text === undefined || text === '' ? '<none>' : text
}

export function formatLabels(labels: Readonly<Record<string, string>> | undefined): string {
  const pairs = Object.entries(labels ?? {}).map(([key, value]) => `${key}=${value}`)
  return orNone(pairs.toSorted().join(','))
}

/** A label selector in the notation of `kubectl get -l`. */
export function formatSelector(selector: LabelSelector | undefined): string {
  if (selector === undefined) return '<none>'
  const terms = Object.entries(selector.matchLabels ?? {}).map(([key, value]) => `${key}=${value}`)
  for (const { key, operator, values = [] } of selector.matchExpressions ?? []) {
    if (operator === 'Exists') terms.push(key)
    else if (operator === 'DoesNotExist') terms.push(`!${key}`)
    else terms.push(`${key} ${operator.toLowerCase()} (${values.toSorted().join(',')})`)
  }
  return orNone(terms.toSorted().join(','))
}

/** The first three of a list; `text` says what stands for an empty one. */
export function firstThree(list: readonly string[], text: string): string {
  if (list.length === 0) return text
  const shown = list.slice(0, 3).join(',')
  return list.length > 3 ? `${shown} + ${list.length - 3} more...` : shown
}

/** Columns Containers and Images. */
export const containerColumns: readonly TableColumn[] = [wideColumn('Containers'), wideColumn('Images')]

export function containerCells(spec: PodSpec | undefined): string[] {
  const containers = spec?.containers ?? []
  return [containers.map(({ name }) => name).join(','), containers.map(({ image = '' }) => image).join(',')]
}
