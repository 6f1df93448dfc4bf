/** A response as far as probes look at it. */
export interface HttpAnswer {
  readonly status: number
  readonly location?: string | undefined
  /** Its first bytes, one character each. */
  readonly body: string
}

export type ParsedAnswer =
  /** More bytes are to come. */
  | { readonly state: 'partial' }
  | { readonly state: 'broken'; readonly reason: string }
  | { readonly state: 'whole'; readonly answer: HttpAnswer }

/** More of a body is not read, as with kubelets. */
export const MOST_BODY_BYTES: number = 10 * 1024
const MOST_HEAD_BYTES = 64 * 1024
/** With what is told of the chunks: a size for each of them, which may go with other words. */
const MOST_CHUNKED_BYTES = 8 * MOST_BODY_BYTES
const MOST_INTERIM_ANSWERS = 5

const partial: ParsedAnswer = { state: 'partial' }

/**
 * Reads an HTTP/1.x response (RFC 9112) from what has arrived of it: Latin-1 text, so that a character is a byte. `isEnded`: the
 * connection has no more. Whole is what has all of its body, or as much of it as anybody looks at.
 */
export function parseAnswer(text: string, isEnded: boolean): ParsedAnswer {
  let from = 0
  for (let interim = 0; interim <= MOST_INTERIM_ANSWERS; interim += 1) {
    const head = findHead(text, from)
    if (!head) return withoutHead(text.slice(from), isEnded)
    const status = /^HTTP\/\d\.\d (\d{3})(?!\d)/.exec(head.text)?.[1]
    if (status === undefined) return malformed(head.text)
    if (!status.startsWith('1') || status === '101')
      return withHead(Number(status), head.text, text.slice(head.end), isEnded)
    from = head.end
  }
  return { state: 'broken', reason: 'net/http: too many 1xx informational responses' }
}

function findHead(text: string, from: number): { text: string; end: number } | undefined {
  const end = text.indexOf('\r\n\r\n', from)
  if (end !== -1) return { text: text.slice(from, end), end: end + 4 }
  // Some servers end lines by LF alone, which a recipient may take (section 2.2).
  const bare = text.indexOf('\n\n', from)
  return bare === -1 ? undefined : { text: text.slice(from, bare), end: bare + 2 }
}

function withoutHead(text: string, isEnded: boolean): ParsedAnswer {
  if (text.length > 8 && !text.startsWith('HTTP/')) return malformed(text)
  if (isEnded) return { state: 'broken', reason: text === '' ? 'EOF' : 'unexpected EOF' }
  return text.length > MOST_HEAD_BYTES
    ? { state: 'broken', reason: 'net/http: server response headers exceeded 65536 bytes; aborted' }
    : partial
}

function withHead(status: number, head: string, rest: string, isEnded: boolean): ParsedAnswer {
  const isChunked = /\n[Tt]ransfer-[Ee]ncoding:[^\n]*chunked/.test(head)
  const length = isChunked ? undefined : fieldOf(head, 'content-length')
  const hasNone = status === 204 || status === 304
  const { body, isWhole } = isChunked
    ? readChunks(rest)
    : { body: rest, isWhole: hasNone || rest.length >= Number(length ?? Infinity) }
  if (isWhole || body.length >= MOST_BODY_BYTES || (isEnded && !isChunked && length === undefined)) {
    const location = status >= 300 && status < 400 ? fieldOf(head, 'location') : undefined
    return {
      state: 'whole',
      answer: { status, location, body: body.slice(0, Math.min(MOST_BODY_BYTES, Number(length ?? Infinity))) },
    }
  }
  if (isEnded) return { state: 'broken', reason: 'unexpected EOF' }
  return rest.length > MOST_CHUNKED_BYTES
    ? { state: 'broken', reason: 'chunked encoding contains too much non-data' }
    : partial
}

/** What of a chunked body (section 7.1) has arrived. */
function readChunks(text: string): { body: string; isWhole: boolean } {
  let body = ''
  for (let at = 0; ;) {
    const lineEnd = text.indexOf('\n', at)
    if (lineEnd === -1) return { body, isWhole: false }
    const size = Number.parseInt(text.slice(at, lineEnd), 16)
    if (size === 0) return { body, isWhole: true }
    // What cannot be read has no end but that of the connection.
    if (!(size > 0)) return { body, isWhole: false }
    body += text.slice(lineEnd + 1, lineEnd + 1 + size)
    if (body.length >= MOST_BODY_BYTES) return { body, isWhole: true }
    at = text.indexOf('\n', lineEnd + 1 + size) + 1
    if (at === 0) return { body, isWhole: false }
  }
}

/** Value of the first field of that name, given in lower case. */
function fieldOf(head: string, name: string): string | undefined {
  for (let at = head.indexOf('\n'); at !== -1; at = head.indexOf('\n', at + 1)) {
    if (head.charAt(at + 1 + name.length) !== ':') continue
    if (head.slice(at + 1, at + 1 + name.length).toLowerCase() !== name) continue
    const end = head.indexOf('\n', at + 1)
    return head.slice(at + 2 + name.length, end === -1 ? undefined : end).trim()
  }
  return undefined
}

function malformed(text: string): ParsedAnswer {
  const line = JSON.stringify(text.split('\n', 1)[0]?.trimEnd().slice(0, 100))
  return { state: 'broken', reason: `net/http: HTTP/1.x transport connection broken: malformed HTTP response ${line}` }
}
