import type { Duplex } from 'node:stream'
import { SpdySession } from '@fairlead/kube/streaming'
import type { SpdyStream } from '@fairlead/kube/streaming'

import type { CommandOptions, CommandStreams } from './command.ts'
import { TerminalSizes } from './sizes.ts'

const streamTimeoutMs = 30_000

/** The streams of a command as SPDY streams named by `streamtype`; undefined when the client did not open them in time. */
export async function openSpdyCommand(
  connection: Duplex,
  protocol: string,
  options: CommandOptions,
): Promise<CommandStreams | undefined> {
  const wanted = streamsOf(protocol, options)
  const found = new Map<string, SpdyStream>()
  const complete = Promise.withResolvers<void>()
  const session = new SpdySession(connection, {
    role: 'server',
    maxStreams: 8,
    onStream(stream) {
      const type = (stream.headers['streamtype'] ?? '').toLowerCase()
      stream.on('error', () => {})
      if (!wanted.includes(type) || found.has(type)) return void stream.destroy()
      found.set(type, stream)
      if (found.size === wanted.length) complete.resolve()
    },
  })
  const timer = setTimeout(() => session.destroy(), streamTimeoutMs)
  await Promise.race([complete.promise, session.ended])
  clearTimeout(timer)
  if (found.size < wanted.length) {
    session.destroy()
    return undefined
  }
  const sizes = new TerminalSizes()
  found.get('resize')?.on('data', (chunk: Buffer) => sizes.push(chunk.toString('utf8')))
  const error = found.get('error')
  error?.resume()
  // The other way of a stream of output carries nothing; left unread it would never end.
  found.get('stdout')?.resume()
  found.get('stderr')?.resume()
  return {
    stdin: found.get('stdin'),
    stdout: found.get('stdout'),
    stderr: found.get('stderr'),
    onSize: (listener) => sizes.listen(listener),
    async finish(status) {
      const isPlain = !/^v[45]/.test(protocol)
      if (!isPlain) error?.end(JSON.stringify(status))
      else if (status.status === 'Success') error?.end()
      else error?.end(status.message ?? '')
      for (const stream of found.values()) if (!stream.writableEnded) stream.end()
      await session.finish()
    },
    gone: session.ended,
  }
}

function streamsOf(protocol: string, { stdin, stdout, stderr, tty }: CommandOptions): string[] {
  return [
    'error',
    ...(stdin ? ['stdin'] : []),
    ...(stdout ? ['stdout'] : []),
    ...(stderr && !tty ? ['stderr'] : []),
    ...(tty && /^v[345]/.test(protocol) ? ['resize'] : []),
  ]
}
