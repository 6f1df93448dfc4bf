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
