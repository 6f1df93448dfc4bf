import type { IncomingMessage, ServerResponse } from 'node:http'

import type { Digest } from '../../spec/digest.ts'
import type { Access, Principal, RegistryAction } from './access.ts'
import type { IsImmutable } from './immutability.ts'
import { RegistryRefusal } from './protocol.ts'
import type { RegistryStore } from './store.ts'
import type { Grant } from './tokens.ts'
import type { Uploads } from './uploads.ts'
import type { PullThrough } from './upstream.ts'

/** A manifest that was pushed; everything it needs is stored. */
export interface PushEvent {
  repository: string
  digest: Digest
  mediaType: string
  size: number
  tags: readonly string[]
  /** The manifest this one refers to, as a signature does. */
  subject?: Digest | undefined
  /** Who pushed it; `undefined` for somebody who had not logged in. */
  user?: string | undefined
}

/** What the handler works with. */
export interface HandlerParts {
  store: RegistryStore
  uploads: Uploads
  access: Access
  isImmutable: IsImmutable
  pullThrough: PullThrough | undefined
  missingContent: 'reject' | 'accept'
  isAllowedHost: (host: string | undefined) => boolean
  onPushed: (event: PushEvent) => void
  onError: (error: unknown, request: { method: string; path: string }) => void
}

/** One request, by somebody. */
export interface Call {
  request: IncomingMessage
  response: ServerResponse
  method: string
  url: URL
  principal: Principal
}

/** As many entries as one answer has. */
export const MAX_PAGE: number = 1000
/** What a digest names never changes. */
export const IMMUTABLE: string = 'max-age=31536000, immutable'

/** Throws unless the caller may do it, and it can be done. */
export function allow(
  parts: HandlerParts,
  { principal, request }: Call,
  repository: string,
  action: RegistryAction,
): void {
  const { access, pullThrough } = parts
  if (!access.mayDo(principal, repository, action)) {
    // Clients that push also ask what is there: they are told at once to get a token for both.
    const actions = action === 'push' ? ['pull', 'push'] : [action]
    throw access.refusal(request, principal, [{ type: 'repository', name: repository, actions } satisfies Grant])
  }
  if (action === 'push' && pullThrough?.isUpstream(repository)) {
    throw new RegistryRefusal(405, 'UNSUPPORTED', 'the repository is a cache of another registry: push there')
  }
}

/** The whole body; refuses more than `maxBytes`. */
export async function readBody(request: IncomingMessage, maxBytes: number): Promise<Buffer> {
  const tooLarge = new RegistryRefusal(413, 'SIZE_INVALID', `at most ${maxBytes} bytes are accepted`)
  if (Number(request.headers['content-length'] ?? 0) > maxBytes) throw tooLarge
  const chunks: Buffer[] = []
  let size = 0
  for await (const chunk of request) {
    size += (chunk as Buffer).byteLength
    if (size > maxBytes) throw tooLarge
    chunks.push(chunk as Buffer)
  }
  return Buffer.concat(chunks)
}

/** RFC 9110 section 13.1.2. */
export function isNotModified({ headers, method }: IncomingMessage, digest: Digest): boolean {
  const given = headers['if-none-match']
  if (given === undefined || (method !== 'GET' && method !== 'HEAD')) return false
  return given.trim() === '*' || given.split(',').some((tag) => tag.trim().replace(/^W\//, '') === `"${digest}"`)
}

/** RFC 8288: the same request, from the next item on. */
export function linkToNext({ url, response }: Call, last: string | undefined): void {
  if (last === undefined) return
  const next = new URL(url)
  next.searchParams.set('last', last)
  response.setHeader('link', `<${next.pathname}${next.search}>; rel="next"`)
}

/** Answers without content. */
export function end(response: ServerResponse, status: number): void {
  response.statusCode = status
  if (status !== 204 && status !== 304) response.setHeader('content-length', 0)
  response.end()
}

export function sendText(request: IncomingMessage, response: ServerResponse, type: string, text: string): void {
  response.setHeader('content-type', type)
  response.setHeader('content-length', Buffer.byteLength(text))
  response.end(request.method === 'HEAD' ? undefined : text)
}

export function refuseMethod(
  { response }: { request: IncomingMessage; response: ServerResponse },
  allow: string,
): never {
  response.setHeader('allow', allow)
  throw new RegistryRefusal(405, 'UNSUPPORTED', 'the method is not one of this endpoint')
}
