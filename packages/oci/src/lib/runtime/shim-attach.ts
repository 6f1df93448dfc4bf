import { once } from 'node:events'
import { connect } from 'node:net'
import { PassThrough, Writable } from 'node:stream'

import { attachUnavailable } from '../errors.ts'
import type { ContainerSession } from './session.ts'

const kinds = { input: 0, output: 1, errors: 2, inputEnd: 3, size: 4 } as const
const maxFrameBytes = 1 << 20

/** Attaches to the streams of a process under our own monitor (`process-shim.ts` tells the framing). */
export async function attachToShim(
  path: string,
  { stdin: wantsInput, tty }: { readonly stdin: boolean; readonly tty: boolean },
): Promise<ContainerSession> {
  const socket = connect(path)
  await once(socket, 'connect').catch((cause: unknown) => {
    throw attachUnavailable('its monitor has no socket for it', cause)
  })
  const stdout = new PassThrough()
  const stderr = new PassThrough()
  const { promise: ended, resolve } = Promise.withResolvers<undefined>()
  let rest: Buffer = Buffer.alloc(0)
  const take = (chunk: Buffer): void => {
    rest = rest.length === 0 ? chunk : Buffer.concat([rest, chunk])
    while (rest.length >= 5 && rest.length >= 5 + rest.readUInt32BE(1)) {
      const size = rest.readUInt32BE(1)
      const target = rest[0] === kinds.errors ? stderr : stdout
      if (!target.write(rest.subarray(5, 5 + size))) {
        socket.pause()
        target.once('drain', () => socket.resume())
      }
      rest = rest.subarray(5 + size)
    }
    if (rest.length > 5 && rest.readUInt32BE(1) > maxFrameBytes) socket.destroy()
  }
  socket.on('data', take)
  socket.on('error', () => socket.destroy())
  socket.on('close', () => {
    stdout.end()
    stderr.end()
    resolve(undefined)
  })
  const send = (kind: number, bytes: Buffer, done: () => void = () => {}): void => {
    const head = Buffer.alloc(5)
    head[0] = kind
    head.writeUInt32BE(bytes.length, 1)
    if (socket.destroyed || socket.write(Buffer.concat([head, bytes]))) return done()
    const go = (): void => {
      socket.off('drain', go)
      socket.off('close', go)
      done()
    }
    socket.on('drain', go)
    socket.on('close', go)
  }
  const stdin = new Writable({
    write: (chunk: Buffer, _encoding, done) => send(kinds.input, chunk, done),
    final: (done) => send(kinds.inputEnd, Buffer.alloc(0), done),
  })
  return {
    stdin: wantsInput ? stdin : undefined,
    stdout,
    stderr: tty ? undefined : stderr,
    resize: (columns, rows) => {
      const size = Buffer.alloc(4)
      size.writeUInt16BE(columns)
      size.writeUInt16BE(rows, 2)
      send(kinds.size, size)
      return Promise.resolve()
    },
    ended,
    // What was written still goes.
    kill: () => socket.destroySoon(),
    hangUp: () => void socket.destroy(),
  }
}
