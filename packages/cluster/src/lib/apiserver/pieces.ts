const sliceBytes = 1 << 20

/**
 * The bytes of `pieces`, about a megabyte at a time. A long list is thousands of stored objects: copied whole it would be in
 * memory once more for each client that reads it.
 */
export function* inSlices(pieces: readonly Buffer[]): Generator<Buffer> {
  let start = 0
  let bytes = 0
  for (const [index, piece] of pieces.entries()) {
    bytes += piece.length
    if (bytes < sliceBytes && index < pieces.length - 1) continue
    yield start === index ? piece : Buffer.concat(pieces.slice(start, index + 1), bytes)
    start = index + 1
    bytes = 0
  }
}
