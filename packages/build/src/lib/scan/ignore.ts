import { readFile } from 'node:fs/promises'

import { parse } from 'yaml'

import { ignoreInvalid } from './errors.ts'
import type { Finding } from './scan.ts'

/** A decision to live with a vulnerability for a while. */
export interface IgnoreEntry {
  /** Of the advisory, or an alias of it. */
  id: string
  /** Name of the package; absent: wherever it is found. */
  package?: string | undefined
  reason: string
  /** The last day, `2026-12-31`. */
  expires: string
}

/** The entries of an ignore file. */
export interface IgnoreList {
  path: string
  entries: readonly IgnoreEntry[]
}

/**
 * Reads an ignore file (YAML or JSON): `ignore:` with a list of `{id, package?, reason, expires}`. An entry that has
 * expired, or lacks a reason or an end, makes the whole file fail: `FAIRLEAD_BUILD_SCAN_IGNORE`.
 */
export async function loadIgnoreFile(path: string, now: Date = new Date()): Promise<IgnoreList> {
  const text = await readFile(path, 'utf8').catch((error: unknown) => {
    throw ignoreInvalid(path, 'it cannot be read', 'Check the path', error)
  })
  return parseIgnoreList(path, text, now)
}

/** As {@link loadIgnoreFile}, of text. */
export function parseIgnoreList(path: string, text: string, now: Date): IgnoreList {
  const shape = 'Write "ignore:" and below it a list with id, reason and expires (YYYY-MM-DD) each'
  let value: unknown
  try {
    value = parse(text, { maxAliasCount: 10 }) as unknown
  } catch (error) {
    throw ignoreInvalid(path, 'it is neither YAML nor JSON', shape, error)
  }
  const list = (value as { ignore?: unknown } | null)?.ignore
  if (!Array.isArray(list)) throw ignoreInvalid(path, 'it has no list "ignore"', shape)
  const today = now.toISOString().slice(0, 10)
  const entries = list.map((item: unknown, index) => parseEntry(path, item, index, shape))
  const expired = entries.filter(({ expires }) => expires < today)
  if (expired.length > 0) {
    const names = expired.map(({ id, expires }) => `${id} on ${expires}`).join(', ')
    throw ignoreInvalid(path, `expired: ${names}`, 'Mend what they excuse, or decide anew and set another day')
  }
  return { path, entries }
}

function parseEntry(path: string, item: unknown, index: number, shape: string): IgnoreEntry {
  const { id, package: name, reason, expires } = (item ?? {}) as Record<string, unknown>
  const place = `entry ${index + 1}`
  if (typeof id !== 'string' || id === '') throw ignoreInvalid(path, `${place} has no "id"`, shape)
  if (typeof reason !== 'string' || reason.trim() === '') {
    throw ignoreInvalid(path, `${place} (${id}) has no "reason"`, shape)
  }
  const day = expires instanceof Date ? expires.toISOString().slice(0, 10) : expires
  const isDay = typeof day === 'string' && /^\d{4}-\d\d-\d\d$/.test(day) && !Number.isNaN(Date.parse(day))
  if (!isDay) throw ignoreInvalid(path, `${place} (${id}) has no day "expires"`, shape)
  if (name !== undefined && typeof name !== 'string')
    throw ignoreInvalid(path, `${place} (${id}) has a "package" that is no name`, shape)
  return { id, package: name, reason, expires: day }
}

/** The entry that excuses a finding. */
export function findIgnore(list: IgnoreList, finding: Finding): IgnoreEntry | undefined {
  const names = [finding.id, ...finding.aliases]
  return list.entries.find(
    (entry) => names.includes(entry.id) && (entry.package === undefined || entry.package === finding.component.name),
  )
}
