import type { IncomingMessage } from 'node:http'
import { problem } from './problem.ts'
import type { HttpError } from './problem.ts'

/**
 * The whole body, at most `limitBytes`. Beyond the limit the rest is read and thrown away, so that the caller gets to
 * see the answer instead of a reset connection.
 *
 * @throws {HttpError} 413 beyond the limit, 400 when the caller goes away in the middle.
 */
export function readBody(message: IncomingMessage, limitBytes: number): Promise<Buffer> {
  const { promise, resolve, reject } = Promise.withResolvers<Buffer>()
  const chunks: Buffer[] = []
  let size = 0
  message.on('data', (chunk: Buffer) => {
    size += chunk.length
    if (size <= limitBytes) chunks.push(chunk)
    else reject(discardBody(message, limitBytes, size))
  })
  message.on('end', () => resolve(chunks.length === 1 && chunks[0] ? chunks[0] : Buffer.concat(chunks)))
  message.on('error', () => reject(problem(400, 'The request body ended too early')))
  message.on('close', () => reject(problem(400, 'The request body ended too early')))
  return promise
}

/** Reads on without keeping anything; a caller who sends a great deal more is cut off. Returns the error to answer with. */
export function discardBody(message: IncomingMessage, limitBytes: number, alreadyRead = 0): HttpError {
  const patience = 16 * 1024 * 1024
  let size = alreadyRead
  message.removeAllListeners('data')
  message.on('data', (chunk: Buffer) => {
    size += chunk.length
    if (size > limitBytes + patience) message.destroy()
  })
  return problem(413, `The request body is larger than ${limitBytes} bytes`, { limitBytes })
}

/**
 * The body as a schema sees it: JSON, or the fields of a form. No body at all is undefined, about which the schema has its say.
 *
 * @throws {HttpError} 415 for other types and character sets, 400 for what is malformed.
 */
export function parseBody(bytes: Uint8Array, contentType: string | undefined): unknown {
  if (bytes.length === 0) return undefined
  const [type = '', ...parameters] = (contentType ?? '').split(';').map((part) => part.trim().toLowerCase())
  const charset = parameters.find((parameter) => parameter.startsWith('charset='))?.slice('charset='.length)
  if (charset !== undefined && !/^"?(utf-?8|us-ascii)"?$/.test(charset))
    throw problem(415, `The request body has the character set ${charset}, expected utf-8`)
  if (type === 'application/x-www-form-urlencoded') return formFields(new URLSearchParams(decodeText(bytes)), 'body')
  if (type === 'application/json' || type.endsWith('+json')) return parseJson(bytes)
  throw problem(
    415,
    `The request body is ${type === '' ? 'of no stated type' : type}, expected application/json or application/x-www-form-urlencoded`,
  )
}

/**
 * Repeated names become lists. Values stay text: what is a number is for the schema to say (`z.coerce.number()`).
 *
 * @throws {HttpError} 400 for a name that would reach into prototypes, and beyond a thousand fields.
 */
export function formFields(fields: URLSearchParams, place: 'query' | 'body'): Record<string, string | string[]> {
  const found: Record<string, string | string[]> = Object.create(null)
  if (fields.size === 0) return found
  if (fields.size > fieldLimit) throw problem(400, `The ${place} of the request has more than ${fieldLimit} fields`)
  for (const [name, value] of fields) {
    if (name === '__proto__') throw problem(400, `The ${place} of the request has a field "__proto__"`)
    const before = found[name]
    if (before === undefined) found[name] = value
    else if (Array.isArray(before)) before.push(value)
    else found[name] = [before, value]
  }
  return found
}

const fieldLimit = 1000

/** How deep JSON may be nested: schemas call themselves per level, and a stack that overflows would look like our fault. */
const depthLimit = 256

/** @throws {HttpError} 400 */
function parseJson(bytes: Uint8Array): unknown {
  const text = decodeText(bytes)
  // Each level takes two characters.
  if (text.length > 2 * depthLimit && isTooDeep(bytes))
    throw problem(400, `The request body is nested deeper than ${depthLimit} levels`)
  let value: unknown
  try {
    value = JSON.parse(text)
  } catch {
    throw problem(400, 'The request body is not valid JSON')
  }
  // A name can be written in escapes, so those are suspect as well; nearly every body has neither.
  if ((text.includes('__proto__') || text.includes('\\u')) && hasPrototypeKey(value))
    throw problem(400, 'The request body has a member "__proto__"')
  return value
}

function isTooDeep(bytes: Uint8Array): boolean {
  let depth = 0
  let isText = false
  for (let index = 0; index < bytes.length; index++) {
    const byte = bytes[index]
    if (byte === 0x22) isText = !isText
    else if (isText) {
      if (byte === 0x5c) index += 1
    } else if (byte === 0x7b || byte === 0x5b) {
      depth += 1
      if (depth > depthLimit) return true
    } else if (byte === 0x7d || byte === 0x5d) depth -= 1
  }
  return false
}

/** JSON.parse makes it a harmless member of its own; whoever copies members one by one sets a prototype with it. */
function hasPrototypeKey(value: unknown): boolean {
  if (typeof value !== 'object' || value === null) return false
  if (Array.isArray(value)) return value.some((item) => hasPrototypeKey(item))
  return Object.hasOwn(value, '__proto__') || Object.values(value).some((member) => hasPrototypeKey(member))
}

function decodeText(bytes: Uint8Array): string {
  try {
    return utf8.decode(bytes)
  } catch {
    throw problem(400, 'The request body is not valid UTF-8')
  }
}

const utf8 = new TextDecoder('utf-8', { fatal: true })
