import { renderExactJson } from '../../codec/exact-json.ts'

/**
 * Fields as the text `FieldsV1` is: what a create computes and only the store reads. Objects of one shape share it.
 * Anything else that writes it as JSON gets the object the text stands for.
 */
export class FieldsText {
  readonly text: string
  readonly bytes: Buffer

  constructor(text: string) {
    this.text = text
    this.bytes = Buffer.from(text)
  }

  toJSON(): unknown {
    if (collected === undefined) return JSON.parse(this.text)
    collected.push(this)
    return placeholder
  }
}

/** Nothing a client could write: it is made anew by every process. */
const placeholder = `fields-${crypto.randomUUID()}`
const quoted = JSON.stringify(placeholder)
let collected: FieldsText[] | undefined

/**
 * The bytes of `JSON.stringify`, in a buffer of their own. Texts of fields that a create has computed are copied as they
 * are.
 */
export function encodeWithFields(value: unknown): Buffer {
  const texts: FieldsText[] = []
  collected = texts
  let text: string
  try {
    text = renderCollecting(value, texts)
  } finally {
    collected = undefined
  }
  const [fields] = texts
  if (fields === undefined) return encode([text])
  // A new object has one owner.
  const at = text.indexOf(quoted)
  return encode([text.slice(0, at), fields.bytes, text.slice(at + quoted.length)])
}

function renderCollecting(value: unknown, texts: FieldsText[]): string {
  try {
    return JSON.stringify(value)
  } catch {
    // Bigints: all is written once more.
    texts.length = 0
    return renderExactJson(value)
  }
}

/** Kept as long as the object lives: a slice of Node's pool would keep 8 KiB of passing buffers with it. */
function encode(parts: readonly (string | Buffer)[]): Buffer {
  let size = 0
  for (const part of parts) size += typeof part === 'string' ? Buffer.byteLength(part) : part.length
  const bytes = Buffer.allocUnsafeSlow(size)
  let offset = 0
  for (const part of parts) {
    offset += typeof part === 'string' ? bytes.write(part, offset) : part.copy(bytes, offset)
  }
  return bytes
}
