import type { Readable } from 'node:stream'
import type { Incoming } from './incoming.ts'

/** A body that is passed on as it comes. */
export interface BodyStream {
  /** Whether anything was taken from it, so that it cannot be sent again. */
  readonly isBegun: boolean
  /** To be read once; does not end the request it is of. Throws {@link SilentClient}. */
  chunks(): AsyncIterable<Buffer>
}

/** The client was asked for more of its body and said nothing for too long. */
export class SilentClient extends Error {}

/** How long clients may be silent with a body that is not whole. */
export interface Silence {
  readonly silenceMs: number
  /** Asked then: whether there is a reason, such as an answer that is being read. */
  readonly isExpected: () => boolean
}

/**
 * Hands a body on: whole when its length is known and at most `limit`, else as it comes. Nothing is handed on when the client
 * goes away before a short body is complete; `late` is told of one that does not go on.
 */
export function readBody(
  incoming: Incoming,
  options: Silence & { readonly limit: number; readonly late: () => void },
  done: (body: Buffer | BodyStream) => void,
): void {
  const length = Number(incoming.headers['content-length'])
  if (length <= options.limit) collect(incoming, options, done)
  else done(streamOf(incoming, options))
}

function collect(
  incoming: Incoming,
  { silenceMs, late }: Silence & { readonly late: () => void },
  done: (body: Buffer) => void,
): void {
  const chunks: Buffer[] = []
  let timer: NodeJS.Timeout | undefined
  const add = (chunk: Buffer): void => {
    chunks.push(chunk)
    timer?.refresh()
  }
  const end = (): void => {
    clearTimeout(timer)
    const [first] = chunks
    done(chunks.length === 1 && first !== undefined ? first : Buffer.concat(chunks))
  }
  incoming.on('data', add)
  incoming.once('end', end)
  // Most bodies have come with the head or follow at once: those cost no timer.
  setImmediate(() => {
    if (incoming.readableEnded || incoming.destroyed) return
    timer = setTimeout(() => {
      incoming.off('data', add).off('end', end)
      late()
    }, silenceMs)
    incoming.once('close', () => clearTimeout(timer))
  })
}

function streamOf(incoming: Incoming, silence: Silence): BodyStream {
  return {
    get isBegun() {
      return incoming.readableDidRead
    },
    chunks: () => readChunks(incoming, silence),
  }
}

async function* readChunks(incoming: Readable, silence: Silence): AsyncGenerator<Buffer> {
  // The request itself would be destroyed with the end of its reading, and the connection of the client with it.
  const chunks: AsyncIterator<Buffer> = incoming.iterator({ destroyOnReturn: false })
  try {
    for (;;) {
      const next = await (incoming.readableLength > 0 ? chunks.next() : withDeadline(chunks.next(), incoming, silence))
      if (next.done === true) return
      yield next.value
    }
  } finally {
    void chunks.return?.()
  }
}

async function withDeadline<T>(next: Promise<T>, incoming: Readable, { silenceMs, isExpected }: Silence): Promise<T> {
  if (incoming.closed) return await next
  const { promise, reject } = Promise.withResolvers<never>()
  const timer = setTimeout(() => {
    if (isExpected()) timer.refresh()
    else reject(new SilentClient('the body of the request does not come'))
  }, silenceMs)
  // A request that was answered meanwhile is not a reason to wait on.
  timer.unref()
  const leave = (): void => {
    // It also closes when all of it is there, which the reader is about to see.
    if (!incoming.readableEnded) reject(new Error('the client went away'))
  }
  incoming.once('close', leave)
  return await Promise.race([next, promise]).finally(() => {
    clearTimeout(timer)
    incoming.off('close', leave)
  })
}
