import { Buffer } from 'node:buffer'
import { once } from 'node:events'
import type { ServerResponse } from 'node:http'
import { Reply, WrittenBody } from './reply.ts'

const jsonType = 'application/json; charset=utf-8'
const textType = 'text/plain; charset=utf-8'
const bytesType = 'application/octet-stream'

const noHeaders: Reply['headers'] = Object.freeze({})

/**
 * Writes what a handler returned, with `requestId` as the header `x-request-id`. Resolves when it is handed to the socket, which
 * for a stream is at its end.
 */
export function send(response: ServerResponse, result: unknown, requestId?: string): void | Promise<void> {
  return sendTo({ response, requestId, bodyBytes: undefined }, result)
}

/** As {@link send}. */
export function sendTo(target: SendTarget, result: unknown): void | Promise<void> {
  const { response } = target
  if (response.headersSent || response.destroyed) return
  // Not before: with the first look at Response, Node loads its whole fetch.
  if (isPlain(result)) return sendBytes(target, 200, noHeaders, jsonType, JSON.stringify(result) ?? 'null')
  if (result instanceof Reply) return sendBody(target, result.status, result.headers, result.body)
  if (typeof result === 'object' && result instanceof Response) return sendResponse(target, result)
  return sendBody(target, result === undefined ? 204 : 200, noHeaders, result)
}

/** What nearly every answer is, and nothing else that could be one: those are asked for by their classes, which is dearer. */
function isPlain(value: unknown): boolean {
  if (typeof value !== 'object' || value === null) return false
  const prototype: unknown = Object.getPrototypeOf(value)
  return prototype === Object.prototype || prototype === Array.prototype
}

/** Whom an answer is for; an exchange is one. */
export interface SendTarget {
  readonly response: ServerResponse
  readonly requestId: string | undefined
  /** How long the body is that has been handed over. */
  bodyBytes: number | undefined
}

function sendBody(target: SendTarget, status: number, headers: Reply['headers'], body: unknown): void | Promise<void> {
  if (body === undefined) return sendBytes(target, status, headers, undefined, undefined)
  if (typeof body === 'string') return sendBytes(target, status, headers, textType, body)
  if (isPlain(body)) return sendBytes(target, status, headers, jsonType, JSON.stringify(body) ?? 'null')
  if (body instanceof Uint8Array) return sendBytes(target, status, headers, bytesType, body)
  if (body instanceof ReadableStream) return sendStream(target, status, headers, body)
  if (body instanceof WrittenBody) {
    const named = target.requestId === undefined ? headers : { ...headers, 'x-request-id': target.requestId }
    return body.writeTo(target.response, status, named)
  }
  return sendBytes(target, status, headers, jsonType, JSON.stringify(body) ?? 'null')
}

function sendBytes(
  target: SendTarget,
  status: number,
  headers: Reply['headers'],
  type: string | undefined,
  body: string | Uint8Array | undefined,
): void {
  const { response } = target
  const list: (string | string[])[] = []
  const size = body === undefined ? 0 : Buffer.byteLength(body)
  target.bodyBytes = size
  if (headers === noHeaders) {
    if (type !== undefined) list.push('content-type', type)
    if (body !== undefined) list.push('content-length', String(size))
    else if (status !== 204 && status !== 304) list.push('content-length', '0')
  } else {
    const given = addHeaders(list, headers)
    if (type !== undefined && !given.has('content-type')) list.push('content-type', type)
    if (body !== undefined && !given.has('content-length')) list.push('content-length', String(size))
    else if (body === undefined && status !== 204 && status !== 304 && !given.has('content-length'))
      list.push('content-length', '0')
  }
  writeHead(target, status, list)
  response.end(body)
}

/** A list instead of an object: node hands it on as it is, when nobody has set a header before. */
function writeHead({ response, requestId }: SendTarget, status: number, list: (string | string[])[]): void {
  if (requestId !== undefined && !response.hasHeader('x-request-id')) list.push('x-request-id', requestId)
  // Its type has no room for several values of one name in a flat list; what it does has.
  response.writeHead(status, list as string[])
}

/** Returns the names, in lower case. */
function addHeaders(list: (string | string[])[], headers: Reply['headers']): Set<string> {
  const names = new Set<string>()
  for (const [name, value] of Object.entries(headers)) {
    names.add(name.toLowerCase())
    if (typeof value === 'string') list.push(name, value)
    else for (const one of value) list.push(name, one)
  }
  return names
}

function sendResponse(target: SendTarget, result: Response): void | Promise<void> {
  const headers: Record<string, string | string[]> = {}
  for (const [name, value] of result.headers) if (name !== 'set-cookie') headers[name] = value
  const cookies = result.headers.getSetCookie()
  if (cookies.length > 0) headers['set-cookie'] = cookies
  if (result.body === null) return sendBytes(target, result.status, headers, undefined, undefined)
  return sendStream(target, result.status, headers, result.body)
}

async function sendStream(
  target: SendTarget,
  status: number,
  headers: Reply['headers'],
  body: ReadableStream<Uint8Array>,
): Promise<void> {
  const { response } = target
  const list: (string | string[])[] = []
  addHeaders(list, headers)
  writeHead(target, status, list)
  if (response.req.method === 'HEAD') {
    await body.cancel()
    response.end()
    return
  }
  const reader = body.getReader()
  const stop = (): void => void reader.cancel().catch(() => {})
  response.once('close', stop)
  try {
    for (let part = await reader.read(); !part.done; part = await reader.read()) {
      if (response.destroyed) return
      target.bodyBytes = (target.bodyBytes ?? 0) + part.value.length
      if (!response.write(part.value)) await Promise.race([once(response, 'drain'), once(response, 'close')])
    }
    response.end()
  } catch (error) {
    // The status is out: breaking off is the only way left to say that the body is not whole.
    response.destroy()
    throw error
  } finally {
    response.removeListener('close', stop)
  }
}
