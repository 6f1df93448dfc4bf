import { Buffer } from 'node:buffer'
import type { OutgoingHttpHeaders, ServerResponse } from 'node:http'
import { once } from 'node:events'
import { Reply } from './reply.ts'

const jsonType = 'application/json; charset=utf-8'
const textType = 'text/plain; charset=utf-8'

/** Writes what a handler returned. Resolves when it is handed to the socket, which for a stream is at its end. */
export function send(response: ServerResponse, result: unknown): void | Promise<void> {
  if (response.headersSent || response.destroyed) return
  if (result instanceof Reply) return sendBody(response, result.status, result.headers, result.body)
  if (result instanceof Response) return sendResponse(response, result)
  return sendBody(response, result === undefined ? 204 : 200, {}, result)
}

function sendBody(
  response: ServerResponse,
  status: number,
  headers: Reply['headers'],
  body: unknown,
): void | Promise<void> {
  if (body instanceof ReadableStream) return sendStream(response, status, headers, body)
  if (body === undefined) return sendBytes(response, status, headers, undefined, undefined)
  if (typeof body === 'string') return sendBytes(response, status, headers, textType, body)
  if (body instanceof Uint8Array) return sendBytes(response, status, headers, 'application/octet-stream', body)
  return sendBytes(response, status, headers, jsonType, JSON.stringify(body) ?? 'null')
}

function sendBytes(
  response: ServerResponse,
  status: number,
  headers: Reply['headers'],
  type: string | undefined,
  body: string | Uint8Array | undefined,
): void {
  const all: OutgoingHttpHeaders = {}
  if (type !== undefined) all['content-type'] = type
  if (body !== undefined) all['content-length'] = Buffer.byteLength(body)
  else if (status !== 204 && status !== 304) all['content-length'] = 0
  response.writeHead(status, Object.assign(all, headers))
  response.end(body)
}

function sendResponse(response: ServerResponse, result: Response): void | Promise<void> {
  const headers: Record<string, string | string[]> = {}
  for (const [name, value] of result.headers) if (name !== 'set-cookie') headers[name] = value
  const cookies = result.headers.getSetCookie()
  if (cookies.length > 0) headers['set-cookie'] = cookies
  if (result.body === null) return sendBytes(response, result.status, headers, undefined, undefined)
  return sendStream(response, result.status, headers, result.body)
}

async function sendStream(
  response: ServerResponse,
  status: number,
  headers: Reply['headers'],
  body: ReadableStream<Uint8Array>,
): Promise<void> {
  response.writeHead(status, headers as OutgoingHttpHeaders)
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
