import { messageOf } from '../errors.ts'
import { CallError } from './call-error.ts'
import type { ResponseSchema } from './client.ts'
import type { TransportResponse } from './transport.ts'

/** The path below the base's, with query. Never another origin, whatever `path` looks like. */
export function pathOf(
  basePath: string,
  path: string,
  query: Readonly<Record<string, string | number | undefined>> | undefined,
): string {
  let start = 0
  while (path.charCodeAt(start) === 47) start += 1
  let text = basePath + path.slice(start)
  const fragment = text.indexOf('#')
  if (fragment !== -1) text = text.slice(0, fragment)
  // Anything but printable ASCII is encoded as the Web platform does; the common path is left alone.
  if (/[^\x21-\x7e]/.test(text)) {
    const { pathname, search } = new URL(`http://x${text}`)
    text = pathname + search
  }
  if (query === undefined) return text
  const params = new URLSearchParams()
  for (const [name, value] of Object.entries(query)) if (value !== undefined) params.append(name, String(value))
  const added = params.toString()
  return added === '' ? text : `${text}${text.includes('?') ? '&' : '?'}${added}`
}

export function renderBody(body: unknown): { body: string | Uint8Array | undefined; contentType: string | undefined } {
  if (body === undefined) return { body: undefined, contentType: undefined }
  if (body instanceof Uint8Array) return { body, contentType: 'application/octet-stream' }
  return { body: JSON.stringify(body), contentType: 'application/json' }
}

export async function validateBody(subject: string, schema: ResponseSchema<unknown>, body: unknown): Promise<void> {
  const { issues } = await schema['~standard'].validate(body)
  if (issues === undefined) return
  const text = issues.map(({ message }) => message).join('; ')
  throw new CallError(subject, 'invalid', `the body to send is not as expected (${text})`)
}

export async function readOutput<Output>(
  subject: string,
  text: string,
  schema: ResponseSchema<Output> | undefined,
): Promise<Output> {
  const value = parseJson(subject, text)
  // Without a schema Output is the caller's word for it, `unknown` unless they say otherwise.
  if (schema === undefined) return value as Output
  const result = await schema['~standard'].validate(value)
  if (result.issues === undefined) return result.value
  const issues = result.issues.map(({ message }) => message).join('; ')
  throw new CallError(subject, 'invalid', `the answer is not as expected (${issues})`)
}

function parseJson(subject: string, text: string): unknown {
  if (text === '') return undefined
  try {
    return JSON.parse(text)
  } catch (error) {
    throw new CallError(subject, 'invalid', `the answer cannot be read (${messageOf(error)})`, { cause: error })
  }
}

/** Where an answer sends the call, if it does and stays within the origin: credentials are not for others. */
export function followRedirect(
  response: TransportResponse,
  origin: URL,
  path: string,
  method: string,
): { readonly path: string; readonly method: string } | undefined {
  const { status, headers } = response
  const location = headers['location']
  if (![301, 302, 303, 307, 308].includes(status) || typeof location !== 'string') return undefined
  const url = URL.parse(location, new URL(path, origin).href)
  if (url === null || url.origin !== origin.origin) return undefined
  // Fetch Standard, HTTP-redirect fetch, step 12.
  const isGet = (status === 303 && method !== 'HEAD') || (status < 303 && method === 'POST')
  return { path: url.pathname + url.search, method: isGet ? 'GET' : method }
}

/** An answer as the Web platform has it. */
export function toResponse(response: TransportResponse, url: string, signal?: AbortSignal | null): Response {
  const headers = new Headers()
  for (const [name, value] of Object.entries(response.headers)) {
    if (Array.isArray(value)) for (const one of value) headers.append(name, one)
    else if (value !== undefined) headers.set(name, value)
  }
  const isEmpty = response.status === 204 || response.status === 205 || response.status === 304
  if (isEmpty) response.body.resume()
  else if (signal) {
    const abort = (): void => void response.body.destroy(toError(signal.reason))
    signal.addEventListener('abort', abort, { once: true })
    response.body.once('close', () => signal.removeEventListener('abort', abort))
  }
  // The type of node:stream/web is that of the global, but for its name.
  const body = isEmpty
    ? null
    : (process.getBuiltinModule('node:stream').Readable.toWeb(response.body) as unknown as ConstructorParameters<
        typeof Response
      >[0])
  const result = new Response(body, { status: response.status, headers })
  Object.defineProperty(result, 'url', { value: url })
  return result
}

function toError(reason: unknown): Error {
  return reason instanceof Error ? reason : new Error(String(reason))
}
