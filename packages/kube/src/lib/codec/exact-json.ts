/** ECMAScript's JSON.parse source text access, which the types of the language do not have yet. */
interface SourceJson {
  parse(text: string, reviver: (key: string, value: unknown, context: { readonly source?: string }) => unknown): unknown
  rawJSON(text: string): object
}

// The proof of the cast: every Node this package runs on has both.
const json = JSON as unknown as SourceJson

const least = -(2n ** 63n)
const greatest = 2n ** 63n - 1n
/** What JavaScript writes for the greatest, once it was a double: no `int64` is read from that. */
const roundedGreatest = String(Number(greatest))
const shortest = 16
const longest = String(least).length

/**
 * `JSON.parse`, but whole numbers that a double cannot hold and 64 bits can are bigints, as Go reads them to `int64`.
 * All others are numbers, but for the one that programs in JavaScript make of the greatest of 64 bits, which is that again.
 * Texts without long digits cost nothing more. Throws `SyntaxError`.
 */
export function parseExactJson(text: string): unknown {
  return holdsLongInteger(text) ? json.parse(text, revive) : JSON.parse(text)
}

/** `JSON.stringify` of what {@link parseExactJson} gives: bigints are written as whole numbers. */
export function renderExactJson(value: unknown, indent = 0): string {
  try {
    return JSON.stringify(value, null, indent)
  } catch (error) {
    // A bigint, most likely; what has another fault has it again.
    if (!(error instanceof TypeError)) throw error
    return JSON.stringify(value, toRaw, indent)
  }
}

/** A deep copy of a JSON value that may hold bigints, made by way of its text. */
export function copyExactJson<T>(value: T): T {
  try {
    return JSON.parse(JSON.stringify(value)) as T
  } catch (error) {
    if (!(error instanceof TypeError)) throw error
    return parseExactJson(JSON.stringify(value, toRaw)) as T
  }
}

/** A whole number of any size as {@link parseExactJson} would have it. */
export function narrowInteger(value: bigint): number | bigint {
  const narrowed = Number(value)
  return Number.isSafeInteger(narrowed) || value < least || value > greatest ? narrowed : value
}

/** Whether whole numbers of so many digits may be in a text that a double could not hold them all. */
export function holdsLongInteger(text: string): boolean {
  // One of any 16 characters in a row is looked at: most texts are passed without reading them.
  for (let at = shortest - 1; at < text.length; at += shortest) {
    if (!isDigit(text.charCodeAt(at))) continue
    let start = at
    while (start > 0 && isDigit(text.charCodeAt(start - 1))) start -= 1
    let end = at + 1
    while (end < text.length && isDigit(text.charCodeAt(end))) end += 1
    if (end - start >= shortest && end - start < longest && isBegin(text.charCodeAt(start - 1))) return true
    at = end
  }
  return false
}

function isDigit(code: number): boolean {
  return code >= 0x30 && code <= 0x39
}

/** What stands before a number: `-`, `:`, `,`, `[`, white space, or nothing. Within texts it may be there too. */
function isBegin(code: number): boolean {
  return code <= 0x20 || code === 0x2d || code === 0x3a || code === 0x2c || code === 0x5b || Number.isNaN(code)
}

function revive(_key: string, value: unknown, { source = '' }: { readonly source?: string }): unknown {
  if (typeof value !== 'number' || Number.isSafeInteger(value)) return value
  if (source === roundedGreatest) return greatest
  // Reading very many digits takes long; none of 64 bits has so many.
  return source.length <= longest && /^-?\d+$/.test(source) ? narrowInteger(BigInt(source)) : value
}

function toRaw(_key: string, value: unknown): unknown {
  return typeof value === 'bigint' ? json.rawJSON(String(value)) : value
}
