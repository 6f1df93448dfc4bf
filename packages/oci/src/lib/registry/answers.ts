import { setTimeout as sleep } from 'node:timers/promises'

import { registryAnswer } from '../errors.ts'
import { createDigester, digestOf, parseDigest, splitDigest } from '../spec/digest.ts'
import type { Digest } from '../spec/digest.ts'
import { mediaTypes } from '../spec/media-types.ts'
import { withoutQuery } from './client-http.ts'
import type { HttpAnswer } from './client-http.ts'

const MAX_ERROR_BYTES = 64 << 10
const MAX_RETRY_AFTER_MS = 60_000

/** Holds what the registry says it stored against what was sent; not all say it. */
export function checkConfirmed(answer: HttpAnswer, digest: Digest): void {
  const confirmed = answer.headers['docker-content-digest']
  if (typeof confirmed === 'string' && confirmed !== digest) throw wrongDigest(answer.url, confirmed, digest)
}

/** The address that an answer names in `Location`. */
export function nextUrl(answer: HttpAnswer): URL | undefined {
  const { location } = answer.headers
  if (location === undefined || !URL.canParse(location, answer.url.href)) return undefined
  const next = new URL(location, answer.url)
  if (!/^https?:$/.test(next.protocol)) return undefined
  // A registry behind a proxy that ends TLS often does not know about it.
  if (answer.url.protocol === 'https:' && next.protocol === 'http:' && next.hostname === answer.url.hostname) {
    if (next.port === '' || next.port === answer.url.port)
      return new URL(next.href.replace(/^http:\/\/[^/?#]*/, answer.url.origin))
  }
  return next
}

/** The page after this one (RFC 8288); only on the same host, for the request is authorised. */
export function nextPage(answer: HttpAnswer): URL | undefined {
  const { link } = answer.headers
  const target = /<([^>]*)>\s*;[^,]*\brel="?next"?/i.exec(Array.isArray(link) ? link.join(', ') : (link ?? ''))?.[1]
  if (target === undefined || !URL.canParse(target, answer.url.href)) return undefined
  const next = new URL(target, answer.url)
  return next.host === answer.url.host ? new URL(`${answer.url.origin}${next.pathname}${next.search}`) : undefined
}

export function parseJson(bytes: Uint8Array): unknown {
  try {
    return JSON.parse(Buffer.from(bytes).toString())
  } catch {
    return undefined
  }
}

export function isOk(status: number): boolean {
  return status >= 200 && status < 300
}

export function isPassing(status: number): boolean {
  return status === 429 || status === 408 || (status >= 500 && status !== 501)
}

export function contentTypeOf(answer: HttpAnswer): string | undefined {
  return answer.headers['content-type']?.split(';')[0]?.trim()
}

/** What the answer says, unless it says nothing a manifest can be; then what is in it. */
export function manifestTypeOf(answer: HttpAnswer, bytes: Buffer): string {
  const said = contentTypeOf(answer)
  if (said && said !== 'application/json' && said !== 'text/plain' && said !== 'application/octet-stream') return said
  const own = parseJson(bytes) as { mediaType?: unknown; manifests?: unknown } | null | undefined
  if (typeof own?.mediaType === 'string') return own.mediaType
  return own?.manifests ? mediaTypes.index : mediaTypes.manifest
}

export function startOf(answer: HttpAnswer): number {
  if (answer.status !== 206) return 0
  return Number(/^bytes (\d+)-/.exec(answer.headers['content-range'] ?? '')?.[1] ?? Number.NaN)
}

export function wrongDigest(url: URL, actual: string, expected: Digest): Error {
  return registryAnswer(withoutQuery(url), `the manifest has digest "${actual}", expected "${expected}"`)
}

export function digestLike(bytes: Uint8Array, expected: Digest | undefined): Digest {
  if (!expected) return digestOf(bytes)
  const digester = createDigester(splitDigest(parseDigest(expected)).algorithm)
  digester.update(bytes)
  return digester.digest()
}

/** The first error in the body (distribution-spec, "Error Codes"), cut and without control characters. */
export async function errorOf(answer: HttpAnswer): Promise<string> {
  const bytes = await answer.bytes(MAX_ERROR_BYTES).catch(() => Buffer.alloc(0))
  const body = parseJson(bytes) as { errors?: { code?: unknown; message?: unknown }[] } | null | undefined
  const first = Array.isArray(body?.errors) ? body.errors[0] : undefined
  return [first?.code, first?.message]
    .filter((part) => typeof part === 'string')
    .join(': ')
    .replaceAll(/\p{Cc}+/gu, ' ')
    .slice(0, 300)
}

export async function waitAsAsked(answer: HttpAnswer, signal?: AbortSignal): Promise<void> {
  const text = answer.headers['retry-after']
  if (text === undefined) return
  const waitMs = /^\d+$/.test(text) ? Number(text) * 1000 : Date.parse(text) - Date.now()
  if (waitMs > 0) await sleep(Math.min(waitMs, MAX_RETRY_AFTER_MS), undefined, { signal })
}
