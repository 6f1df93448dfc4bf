import { isDigest } from '../../spec/digest.ts'
import type { Digest } from '../../spec/digest.ts'

/** Codes of distribution-spec 1.1, "Error Codes"; `UNAVAILABLE` and `UNKNOWN` go with 5xx, for which it names none. */
export type RegistryErrorCode =
  | 'BLOB_UNKNOWN'
  | 'BLOB_UPLOAD_INVALID'
  | 'BLOB_UPLOAD_UNKNOWN'
  | 'DENIED'
  | 'DIGEST_INVALID'
  | 'MANIFEST_BLOB_UNKNOWN'
  | 'MANIFEST_INVALID'
  | 'MANIFEST_UNKNOWN'
  | 'NAME_INVALID'
  | 'NAME_UNKNOWN'
  | 'SIZE_INVALID'
  | 'TOOMANYREQUESTS'
  | 'UNAUTHORIZED'
  | 'UNAVAILABLE'
  | 'UNKNOWN'
  | 'UNSUPPORTED'

/** What a client is answered instead of what it asked for: the body of the answer, not an error of this program. */
export class RegistryRefusal extends Error {
  readonly status: number
  readonly reason: RegistryErrorCode
  readonly detail: unknown
  readonly headers: Readonly<Record<string, string>>

  constructor(
    status: number,
    reason: RegistryErrorCode,
    message: string,
    more: { detail?: unknown; headers?: Record<string, string>; cause?: unknown } = {},
  ) {
    super(message, more.cause === undefined ? {} : { cause: more.cause })
    this.name = 'RegistryRefusal'
    this.status = status
    this.reason = reason
    this.detail = more.detail
    this.headers = more.headers ?? {}
  }

  /** The JSON body of distribution-spec 1.1, "Error Codes". */
  toBody(): string {
    const detail = this.detail === undefined ? {} : { detail: this.detail }
    return `${JSON.stringify({ errors: [{ code: this.reason, message: this.message, ...detail }] })}\n`
  }
}

const NAME = /^[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*(?:\/[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*)*$/
const TAG = /^[a-zA-Z0-9_][a-zA-Z0-9._-]{0,127}$/
/** Clients refuse names that are longer than 255 with the host in front; this leaves them a short host. */
const MAX_NAME = 240
const MAX_COMPONENT = 200

/** Checks a repository name; throws NAME_INVALID. The length is looked at first: the pattern must not see an endless one. */
export function parseRepository(name: string): string {
  const isGood =
    name.length <= MAX_NAME && NAME.test(name) && name.split('/').every(({ length }) => length <= MAX_COMPONENT)
  if (isGood) return name
  throw new RegistryRefusal(400, 'NAME_INVALID', 'the name of the repository is not valid', {
    detail: { name: name.slice(0, 300) },
  })
}

/** Whether the text is a tag. */
export function isTag(text: string): boolean {
  return TAG.test(text)
}

/** Checks a digest; throws DIGEST_INVALID for another form or an algorithm that is not registered. */
export function parseRequestDigest(text: string | null | undefined): Digest {
  if (text && isDigest(text)) return text
  throw new RegistryRefusal(
    400,
    'DIGEST_INVALID',
    'the digest is not valid: expected sha256 or sha512 in lower-case hex',
    {
      detail: { digest: text?.slice(0, 200) ?? '' },
    },
  )
}

/** A manifest is asked for by tag or by digest, nothing else. */
export function parseManifestTarget(text: string): { tag: string } | { digest: Digest } {
  if (text.includes(':')) return { digest: parseRequestDigest(text) }
  if (isTag(text)) return { tag: text }
  throw new RegistryRefusal(400, 'MANIFEST_INVALID', 'the reference is neither a tag nor a digest', {
    detail: { reference: text.slice(0, 200) },
  })
}

/** One page of a sorted list: what follows `last`, at most `n`; `next` is the last item when there are more. */
export function pageOf(
  sorted: readonly string[],
  query: URLSearchParams,
  maxPage: number,
): { items: readonly string[]; next?: string } {
  const text = query.get('n')
  if (text !== null && !/^\d{1,9}$/.test(text)) {
    throw new RegistryRefusal(400, 'UNSUPPORTED', 'n is not a number of items')
  }
  const n = Math.min(text === null ? maxPage : Number(text), maxPage)
  const last = query.get('last')
  const from = last === null ? 0 : firstAfter(sorted, last)
  const items = sorted.slice(from, from + n)
  const final = items.at(-1)
  return from + n < sorted.length && final !== undefined ? { items, next: final } : { items }
}

/** Binary search: `last` need not be in the list any more. */
function firstAfter(sorted: readonly string[], last: string): number {
  let low = 0
  let high = sorted.length
  while (low < high) {
    const middle = (low + high) >>> 1
    if ((sorted[middle] ?? '') <= last) low = middle + 1
    else high = middle
  }
  return low
}
