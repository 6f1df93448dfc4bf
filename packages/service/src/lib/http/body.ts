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

/** The body as a schema sees it: JSON, or the fields of a form. */
export function parseBody(bytes: Uint8Array, contentType: string | undefined): unknown {
  const type = contentType?.split(';', 1)[0]?.trim().toLowerCase() ?? ''
  if (type === 'application/x-www-form-urlencoded') return formFields(new URLSearchParams(decodeText(bytes)))
  if (type === 'application/json' || type.endsWith('+json')) return parseJson(bytes)
  throw problem(415, `The request body is ${type === '' ? 'of no stated type' : type}, expected application/json`)
}

/** Repeated names become lists. */
export function formFields(fields: URLSearchParams): Record<string, string | string[]> {
  const found: Record<string, string | string[]> = Object.create(null)
  for (const name of new Set(fields.keys())) {
    const values = fields.getAll(name)
    found[name] = values.length === 1 && values[0] !== undefined ? values[0] : values
  }
  return found
}

function parseJson(bytes: Uint8Array): unknown {
  try {
    return JSON.parse(decodeText(bytes))
  } catch {
    throw problem(400, 'The request body is not valid JSON')
  }
}

function decodeText(bytes: Uint8Array): string {
  try {
    return new TextDecoder('utf-8', { fatal: true }).decode(bytes)
  } catch {
    throw problem(400, 'The request body is not valid UTF-8')
  }
}
