import { watchSyntax } from './errors.ts'

/** The longest line accepted. Stored objects stay below 1.5 MiB upstream; JSON escapes may multiply that. */
const maxLineBytes = 16 * 1024 * 1024

/**
 * Splits a body into its lines. A last line without its end is a cut event and dropped, one over 16 MiB throws
 * FAIRLEAD_KUBE_WATCH; with `keepRest` the body is text: its last line counts, and long ones come in pieces.
 */
export async function* splitLines(
  body: AsyncIterable<Uint8Array>,
  { keepRest = false }: { readonly keepRest?: boolean } = {},
): AsyncGenerator<string, void, undefined> {
  let pending: Buffer[] = []
  let pendingBytes = 0
  for await (const chunk of body) {
    const bytes = Buffer.from(chunk.buffer, chunk.byteOffset, chunk.byteLength)
    let start = 0
    for (let end = bytes.indexOf(10); end >= 0; end = bytes.indexOf(10, start)) {
      pending.push(bytes.subarray(start, end))
      start = end + 1
      const line = (pending.length === 1 ? (pending[0] ?? bytes) : Buffer.concat(pending)).toString('utf8')
      pending = []
      pendingBytes = 0
      yield line
    }
    if (start < bytes.length) {
      pendingBytes += bytes.length - start
      pending.push(bytes.subarray(start))
      if (pendingBytes > maxLineBytes) {
        if (!keepRest) {
          throw watchSyntax(`line is longer than ${maxLineBytes} bytes`)
        }
        yield Buffer.concat(pending).toString('utf8')
        pending = []
        pendingBytes = 0
      }
    }
  }
  if (keepRest && pending.length > 0) {
    yield Buffer.concat(pending).toString('utf8')
  }
}
