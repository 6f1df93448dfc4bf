import { constants, createInflate } from 'node:zlib'
import type { Inflate } from 'node:zlib'

// The words of the dictionary every SPDY/3 header block is compressed with (SPDY Protocol Draft 3.1, 2.6.10.1).
const words = `options head post put delete trace accept accept-charset accept-encoding accept-language accept-ranges age allow
authorization cache-control connection content-base content-encoding content-language content-length content-location
content-md5 content-range content-type date etag expect expires from host if-match if-modified-since if-none-match if-range
if-unmodified-since last-modified location max-forwards pragma proxy-authenticate proxy-authorization range referer
retry-after server te trailer transfer-encoding upgrade user-agent vary via warning www-authenticate method get status
200_OK version HTTP/1.1 url public set-cookie keep-alive origin`

const rest = [
  '100101201202205206300302303304305306307402405406407408409410411412413414415416417502504505',
  '203 Non-Authoritative Information204 No Content301 Moved Permanently400 Bad Request401 Unauthorized403 Forbidden',
  '404 Not Found500 Internal Server Error501 Not Implemented503 Service Unavailable',
  'Jan Feb Mar Apr May Jun Jul Aug Sept Oct Nov Dec 00:00:00 Mon, Tue, Wed, Thu, Fri, Sat, Sun, GMT',
  'chunked,text/html,image/png,image/jpg,image/gif,application/xml,application/xhtml+xml,text/plain,text/javascript,',
  'publicprivatemax-age=gzip,deflate,sdchcharset=utf-8charset=iso-8859-1,utf-,*,enq=0.',
].join('')

/** The dictionary of SPDY/3 header blocks: 1423 bytes with the Adler-32 checksum 0xe3c6a7c2. */
export const spdyDictionary: Buffer = Buffer.concat([
  ...words.split(/\s+/).map((word) => sized(word.replace('_', ' '))),
  Buffer.from(rest, 'latin1'),
])

export type SpdyHeaders = Readonly<Record<string, string>>

const maxHeaderBytes = 64 << 10
const maxHeaders = 256

function sized(text: string): Buffer {
  const bytes = Buffer.from(text, 'latin1')
  const size = Buffer.alloc(4)
  size.writeUInt32BE(bytes.length)
  return Buffer.concat([size, bytes])
}

/** An empty stored block: Go's reader hands on what it has when it meets one, and fails for want of more without. */
const syncMarker = Buffer.from('000000ffff', 'hex')

/**
 * Writes header blocks as one zlib stream of stored blocks: it names the dictionary and compresses nothing, which every
 * reader takes and needs no compressor. The first block carries the zlib header.
 */
export class SpdyHeaderWriter {
  #isFirst = true

  write(headers: SpdyHeaders): Buffer {
    const count = Buffer.alloc(4)
    const entries = Object.entries(headers)
    count.writeUInt32BE(entries.length)
    const text = Buffer.concat([
      count,
      ...entries.flatMap(([name, value]) => [sized(name.toLowerCase()), sized(value)]),
    ])
    if (text.length > 65_535) throw new RangeError('Cannot write SPDY headers: more than 65535 bytes')
    const block = Buffer.alloc(5)
    block.writeUInt16LE(text.length, 1)
    block.writeUInt16LE(text.length ^ 0xff_ff, 3)
    const head = this.#isFirst ? Buffer.from('78bbe3c6a7c2', 'hex') : Buffer.alloc(0)
    this.#isFirst = false
    return Buffer.concat([head, block, text, syncMarker])
  }
}

/** Reads header blocks: one zlib stream for all blocks of a connection. */
export class SpdyHeaderReader {
  readonly #inflate: Inflate
  #parts: Buffer[] = []
  #size = 0
  #failure: Error | undefined
  #wake: () => void = () => undefined

  constructor() {
    this.#inflate = createInflate({ dictionary: spdyDictionary, finishFlush: constants.Z_SYNC_FLUSH })
    this.#inflate.on('data', (part: Buffer) => {
      this.#size += part.length
      if (this.#size > maxHeaderBytes) return this.#fail(new RangeError('headers too big'))
      this.#parts.push(part)
    })
    this.#inflate.on('error', (error) => this.#fail(error))
  }

  /** Blocks must be read one after another. Rejects for what is no header block, or one past 64 KiB. */
  async read(block: Buffer): Promise<SpdyHeaders> {
    this.#parts = []
    this.#size = 0
    const { promise, resolve } = Promise.withResolvers<void>()
    this.#wake = resolve
    if (this.#failure === undefined) {
      this.#inflate.write(block)
      this.#inflate.flush(constants.Z_SYNC_FLUSH, resolve)
      await promise
    }
    if (this.#failure !== undefined) throw this.#failure
    return parseHeaders(Buffer.concat(this.#parts, this.#size))
  }

  close(): void {
    this.#fail(new Error('the connection is closed'))
  }

  #fail(error: Error): void {
    this.#failure ??= error
    this.#inflate.destroy()
    this.#wake()
  }
}

function parseHeaders(bytes: Buffer): SpdyHeaders {
  let at = 0
  const number = (): number => {
    if (at + 4 > bytes.length) throw new RangeError('header block ends early')
    at += 4
    return bytes.readUInt32BE(at - 4)
  }
  const text = (): string => {
    const size = number()
    if (at + size > bytes.length) throw new RangeError('header block ends early')
    at += size
    return bytes.toString('latin1', at - size, at)
  }
  const count = number()
  if (count > maxHeaders) throw new RangeError('too many headers')
  const headers: Record<string, string> = Object.create(null) as Record<string, string>
  for (let index = 0; index < count; index += 1) headers[text().toLowerCase()] = text()
  return headers
}
