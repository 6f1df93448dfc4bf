import { randomFillSync } from 'node:crypto'

const page = Buffer.alloc(8192)
let digits = ''
let used = 0

/**
 * Hex digits of a new id, not all zeros. Random bytes are drawn and written out by the page: a call into the kernel's
 * generator for each id costs more than all of the parsing.
 */
export function randomHex(bytes: number): string {
  const length = bytes * 2
  if (used + length > digits.length) {
    digits = randomFillSync(page).toString('hex')
    used = 0
  }
  const id = digits.slice(used, used + length)
  used += length
  return isZero(id) ? randomHex(bytes) : id
}

const uuidLength = 36
const uuidsPerPage = 256
let uuids = ''
let usedUuids = uuidsPerPage

/**
 * A random UUID (RFC 9562, version 4). `randomUUID` puts each one together of twenty pieces, which was a twentieth of all that
 * is allocated for a request; here a page of them is written at a time, and each is a slice of it.
 */
export function randomUuid(): string {
  if (usedUuids === uuidsPerPage) {
    uuids = renderUuids()
    usedUuids = 0
  }
  const start = usedUuids * uuidLength
  usedUuids += 1
  return uuids.slice(start, start + uuidLength)
}

function renderUuids(): string {
  const hex = randomFillSync(Buffer.alloc(uuidsPerPage * 16)).toString('hex')
  let text = ''
  for (let start = 0; start < hex.length; start += 32) {
    const variant = '89ab'[Number.parseInt(hex[start + 16] ?? '0', 16) & 3]
    text += `${hex.slice(start, start + 8)}-${hex.slice(start + 8, start + 12)}-4${hex.slice(start + 13, start + 16)}-`
    text += `${variant}${hex.slice(start + 17, start + 20)}-${hex.slice(start + 20, start + 32)}`
  }
  // In one piece: a text that is put together is flattened when it is first sliced.
  return Buffer.from(text, 'latin1').toString('latin1')
}

/** Whether a text has no other character than `0`. */
export function isZero(id: string): boolean {
  for (let index = 0; index < id.length; index += 1) if (id.charCodeAt(index) !== 0x30) return false
  return true
}

/** Whether the characters of `text` from `start` to `end` are lower-case hex digits. */
export function isHex(text: string, start: number, end: number): boolean {
  for (let index = start; index < end; index += 1) {
    const code = text.charCodeAt(index)
    if (!((code >= 0x30 && code <= 0x39) || (code >= 0x61 && code <= 0x66))) return false
  }
  return true
}
