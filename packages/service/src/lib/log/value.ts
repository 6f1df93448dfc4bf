import { EventEmitter } from 'node:events'
import { redacted, redactUrls } from './redact.ts'
import type { Redaction } from './redact.ts'

/** Bounds of what one line may hold; beyond them it is cut and says so. */
const maxDepth = 8
const maxEntries = 100
const maxCauses = 5
const maxKnownKeys = 2000

/** Renders values as JSON text that holds no secret, for one logger. Never throws. */
export interface ValueWriter {
  /** Characters the current line may still take; set at its beginning. */
  left: number
  /** The JSON text of any value. `path` is where it stands, for redaction by path. */
  write(value: unknown, path: readonly string[]): string
  /** The JSON text of a string, URL passwords taken out. */
  quote(text: string): string
  /** What an error tells: type, message, code, hint, stack, its own properties, causes. */
  describeError(error: Error): Record<string, unknown>
  isSecret(key: string, path: readonly string[]): boolean
}

interface Key {
  /** `"key":` */
  readonly text: string
  readonly isSecret: boolean
}

export function createValueWriter(redaction: Redaction, maxStringLength: number): ValueWriter {
  const keys = new Map<string, Key>()
  const open: object[] = []

  const keyOf = (name: string): Key => {
    let key = keys.get(name)
    if (key === undefined) {
      key = { text: `${JSON.stringify(name.slice(0, 256))}:`, isSecret: redaction.isSecretName(name) }
      if (keys.size < maxKnownKeys && name.length <= 256) keys.set(name, key)
    }
    return key
  }
  const isSecret = (name: string, key: Key, path: readonly string[]): boolean =>
    key.isSecret || (redaction.hasPaths && redaction.isSecretPath([...path, name]))

  const quote = (text: string): string => {
    const { length } = text
    if (length < 64) {
      for (let index = 0; index < length; index++) {
        const code = text.charCodeAt(index)
        // Control characters, the quote, the backslash, surrogates; and "@", which URLs with a password have.
        if (code < 32 || code === 34 || code === 92 || code === 64 || (code >= 0xd800 && code <= 0xdfff))
          return quoteSlowly(text)
      }
      return `"${text}"`
    }
    return quoteSlowly(text)
  }
  const quoteSlowly = (text: string): string => {
    const isLong = text.length > maxStringLength
    const kept = redactUrls(isLong ? text.slice(0, maxStringLength) : text)
    // Also well-formed: a lone surrogate comes out as an escape.
    return JSON.stringify(isLong ? `${kept}…[${text.length - maxStringLength} more]` : kept)
  }

  const write = (value: unknown, path: readonly string[]): string => {
    switch (typeof value) {
      case 'string':
        return take(quote(value))
      case 'number':
        return Number.isFinite(value) ? `${value}` : `"${value}"`
      case 'boolean':
        return value ? 'true' : 'false'
      case 'undefined':
        return 'null'
      case 'bigint':
        return take(`"${value}"`)
      case 'symbol':
        return take(quote(String(value)))
      case 'function':
        return take(JSON.stringify(`[function ${value.name || 'anonymous'}]`))
      default:
        return value === null ? 'null' : writeObject(value as object, path)
    }
  }
  const take = (text: string): string => {
    writer.left -= text.length
    return writer.left < 0 ? '"[cut]"' : text
  }
  const writeObject = (value: object, path: readonly string[]): string => {
    if (writer.left <= 0) return '"[cut]"'
    if (open.includes(value)) return '"[circular]"'
    if (open.length >= maxDepth) return Array.isArray(value) ? '"[array]"' : '"[object]"'
    const depth = open.length
    try {
      open.push(value)
      return writeKind(value, path)
    } catch (error) {
      return take(JSON.stringify(`[unreadable: ${reasonOf(error)}]`))
    } finally {
      open.length = depth
    }
  }
  const writeKind = (value: object, path: readonly string[]): string => {
    if (Array.isArray(value)) return writeList(value, value.length, path)
    if (value instanceof Error) return writeEntries(Object.entries(describeError(value)), path)
    if (value instanceof Map)
      return writeEntries(
        value.entries().map(([key, item]) => [keyText(key), item]),
        path,
        value.size,
      )
    if (value instanceof Set) return writeList(value, value.size, path)
    if (ArrayBuffer.isView(value) || value instanceof ArrayBuffer || value instanceof SharedArrayBuffer)
      return take(`"[${value.byteLength} bytes]"`)
    if (value instanceof RegExp) return take(quote(String(value)))
    // Not by instanceof: the first look at the global Headers loads the whole of fetch.
    if (value instanceof URLSearchParams || Object.prototype.toString.call(value) === '[object Headers]')
      return writeEntries((value as URLSearchParams).entries(), path)
    // Sockets, servers, streams: their insides lead through the whole process.
    if (value instanceof EventEmitter || value instanceof Promise) return take(quote(`[${value.constructor.name}]`))
    const { toJSON } = value as { toJSON?: unknown }
    // Dates, URLs, Secrets and everything else that knows its own form.
    if (typeof toJSON === 'function') return write(toJSON.call(value, path.at(-1) ?? ''), path)
    return writeProperties(value, path)
  }
  const writeList = (items: Iterable<unknown>, size: number, path: readonly string[]): string => {
    let text = ''
    let index = 0
    for (const item of items) {
      if (index === maxEntries || writer.left <= 0) break
      const at = redaction.hasPaths ? [...path, String(index)] : path
      const shown = redaction.hasPaths && redaction.isSecretPath(at) ? `"${redacted}"` : write(item, at)
      text += index === 0 ? shown : `,${shown}`
      index += 1
    }
    return index < size ? `[${text}${index === 0 ? '' : ','}"[${size - index} more]"]` : `[${text}]`
  }
  const writeEntries = (
    entries: Iterable<readonly [string, unknown]>,
    path: readonly string[],
    size = Infinity,
  ): string => {
    let text = ''
    let count = 0
    for (const [name, item] of entries) {
      if (item === undefined) continue
      if (count === maxEntries || writer.left <= 0) {
        const more = Number.isFinite(size) ? `${size - count} more` : 'more'
        return `{${text}${count === 0 ? '' : ','}"…":"[${more}]"}`
      }
      const key = keyOf(name)
      text += (count === 0 ? '' : ',') + key.text + writeMember(name, key, item, path)
      writer.left -= key.text.length + 1
      count += 1
    }
    return `{${text}}`
  }
  /** Own enumerable properties, each read on its own: a getter that throws costs its value and no more. */
  const writeProperties = (value: object, path: readonly string[]): string => {
    const names = Object.keys(value)
    return writeEntries(
      names.values().map((name) => [name, read(value, name)]),
      path,
      names.length,
    )
  }
  const writeMember = (name: string, key: Key, item: unknown, path: readonly string[]): string => {
    // Whether there is a password is no secret.
    if (isSecret(name, key, path) && item !== null && typeof item !== 'boolean') return `"${redacted}"`
    return write(item, redaction.hasPaths ? [...path, name] : path)
  }

  const describeError = (error: Error): Record<string, unknown> => {
    const told: Record<string, unknown> = { type: read(error, 'name'), message: read(error, 'message') }
    for (const name of ['code', 'hint', 'stack'] as const) if (name in error) told[name] = read(error, name)
    const own = Object.keys(error).filter((name) => !(name in told) && name !== 'cause' && name !== 'errors')
    for (const name of own.slice(0, 30)) told[name] = brief(read(error, name))
    const depth = open.filter((outer) => outer instanceof Error).length
    if (depth > maxCauses) return told
    if (error.cause !== undefined) told['cause'] = read(error, 'cause')
    if (error instanceof AggregateError) told['errors'] = error.errors.slice(0, 10)
    return told
  }

  const writer: ValueWriter = {
    left: Infinity,
    write,
    quote,
    describeError,
    isSecret: (name, path) => isSecret(name, keyOf(name), path),
  }
  return writer
}

/** HTTP clients hang requests, sockets and agents on their errors; two levels tell what a reader wants to know. */
function brief(value: unknown, depth = 0): unknown {
  if (typeof value !== 'object' || value === null || value instanceof Error) return value
  if (value instanceof EventEmitter || Array.isArray(value) || Object.getPrototypeOf(value) !== Object.prototype)
    return value
  if (depth === 2) return '[object]'
  return Object.fromEntries(
    Object.keys(value)
      .slice(0, 30)
      .map((name) => [name, brief(read(value, name), depth + 1)]),
  )
}

export function read(value: object, name: string): unknown {
  try {
    return (value as Record<string, unknown>)[name]
  } catch (error) {
    return `[unreadable: ${reasonOf(error)}]`
  }
}

function keyText(key: unknown): string {
  return typeof key === 'object' && key !== null ? '[object]' : String(key)
}

/** The message of whatever was thrown, which may itself throw when looked at. */
function reasonOf(error: unknown): string {
  try {
    return redactUrls(error instanceof Error ? error.message : String(error)).slice(0, 200)
  } catch {
    return 'unknown'
  }
}
