import type { Piece } from '../storage/collection.ts'

/** A slice has as much, or up to one piece more. */
export const sliceBytes: number = 1 << 20

export function lengthOf(pieces: readonly Piece[]): number {
  let length = 0
  for (const piece of pieces) length += piece.length
  return length
}

/** All the bytes; a single `Buffer` is not copied. */
export function joinPieces(pieces: readonly Piece[]): Buffer {
  const [only] = pieces
  if (pieces.length === 1 && Buffer.isBuffer(only)) return only
  return join(pieces, 0, pieces.length, Buffer.allocUnsafe(lengthOf(pieces)))
}

/**
 * The bytes of `pieces`, about a megabyte at a time. A long list is thousands of stored objects: copied whole it would be in
 * memory once more for each client that reads it. `room` gives memory for a slice; by default each has its own.
 */
export function* inSlices(
  pieces: readonly Piece[],
  room = (size: number): Buffer => Buffer.allocUnsafeSlow(size),
): Generator<Buffer> {
  let start = 0
  let bytes = 0
  for (let index = 0; index < pieces.length; index += 1) {
    const piece = pieces[index]
    bytes += piece?.length ?? 0
    if (bytes < sliceBytes && index < pieces.length - 1) continue
    yield start === index && Buffer.isBuffer(piece) ? piece : join(pieces, start, index + 1, room(bytes))
    start = index + 1
    bytes = 0
  }
}

function join(pieces: readonly Piece[], start: number, end: number, into: Buffer): Buffer {
  let at = 0
  for (let index = start; index < end; index += 1) at += pieces[index]?.copy(into, at) ?? 0
  return into
}
