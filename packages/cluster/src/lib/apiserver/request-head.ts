/** The head of a request of the usual shape. */
export interface RequestHead {
  readonly method: string
  readonly target: string
  readonly fields: HeadFields
}

/** Names in lower case; each was sent once. Shared by all requests with the same lines. */
export interface HeadFields {
  readonly headers: Readonly<Record<string, string>>
  /** Length of the body. */
  readonly bodyBytes: number
}

const requestLine = /^(GET|POST|PUT|PATCH|DELETE) (\/[\x21-\x7e]*) HTTP\/1\.1$/
/** Names that Kubernetes clients use, and visible ASCII; no white space but one blank before the value. */
const headerLine = /^([A-Za-z][A-Za-z0-9-]*): ?((?:[\x21-\x7e](?:[\x20-\x7e]*[\x21-\x7e])?)?)$/
/** They say how the message goes on, or that the connection becomes something else. */
const framing = new Set(['connection', 'expect', 'te', 'trailer', 'transfer-encoding', 'upgrade'])

/**
 * Reads heads of requests that leave nothing to interpret: RFC 9112 without any of its leniencies, options or
 * obsolete forms. Everything else, though it may be good HTTP, is undefined here and for a whole parser to judge.
 */
export class HeadReader {
  #lines = ''
  #fields: HeadFields | undefined

  /** `head` without the empty line at its end. */
  read(head: string): RequestHead | undefined {
    const end = head.indexOf('\r\n')
    const line = requestLine.exec(end < 0 ? head : head.slice(0, end))
    if (end < 0 || line === null) return undefined
    const lines = head.slice(end + 2)
    // A client says the same of itself with each request.
    if (lines !== this.#lines) {
      this.#fields = parseFields(lines)
      this.#lines = lines
    }
    const [, method = '', target = ''] = line
    return this.#fields === undefined ? undefined : { method, target, fields: this.#fields }
  }
}

function parseFields(lines: string): HeadFields | undefined {
  const headers: Record<string, string> = {}
  for (const line of lines.split('\r\n')) {
    const field = headerLine.exec(line)
    if (field === null) return undefined
    const [, given = '', value = ''] = field
    const name = given.toLowerCase()
    if (Object.hasOwn(headers, name)) return undefined
    if (framing.has(name) && !(name === 'connection' && value.toLowerCase() === 'keep-alive')) return undefined
    headers[name] = value
  }
  const { host, 'content-length': length = '0' } = headers
  if (host === undefined || !/^\d{1,7}$/.test(length)) return undefined
  return { headers, bodyBytes: Number(length) }
}
