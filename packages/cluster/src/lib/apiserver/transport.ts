import { duplexPair } from 'node:stream'
import type { Duplex } from 'node:stream'
import { setImmediate as nextTurn } from 'node:timers/promises'

import type { Transport, TransportRequest, TransportResponse } from '@fairlead/kube'

import type { Piece } from '../storage/collection.ts'
import type { ApiRequest, ApiResponse, Frame, Identity, Sink } from './exchange.ts'
import { parseTarget } from './http-request.ts'
import { inSlices } from './pieces.ts'
import { tooLarge } from './status.ts'

const bodyLimitBytes = 3 << 20

/** Reaches the API server by a function call: the same handler, no HTTP. Closing it ends what it has open. */
export function createTransport(
  identity: Identity,
  handle: (request: ApiRequest) => Promise<ApiResponse>,
  closing: AbortSignal,
): Transport {
  const own = new AbortController()
  return {
    send: (request) => send(request, identity, handle, [closing, own.signal]),
    close: () => Promise.resolve(own.abort()),
  }
}

async function send(
  request: TransportRequest,
  identity: Identity,
  handle: (request: ApiRequest) => Promise<ApiResponse>,
  closing: readonly AbortSignal[],
): Promise<TransportResponse> {
  const controller = new AbortController()
  const release = follow(controller, [...closing, ...(request.signal === undefined ? [] : [request.signal])])
  const timer = startDeadline(controller, request.deadlineMs ?? 0)
  try {
    const answer = await untilAborted(handle(toRequest(request, identity, controller.signal)), controller.signal)
    const headers: Record<string, string> = {}
    for (const [name, value] of Object.entries(answer.headers))
      headers[name] = typeof value === 'string' ? value : value.join(', ')
    if ('pieces' in answer.body) {
      release()
      return { status: answer.status, headers, body: toAsync(answer.body.pieces) }
    }
    if ('switchTo' in answer.body) {
      const [near, far] = duplexPair()
      controller.signal.addEventListener('abort', () => far.destroy())
      near.on('close', release)
      void serveSwitched(answer.body, far)
      return { status: answer.status, headers, body: toAsync([]), connection: near }
    }
    return { status: answer.status, headers, body: readStream(answer.body, controller, release) }
  } catch (error) {
    release()
    throw error
  } finally {
    clearTimeout(timer)
  }
}

function toRequest(request: TransportRequest, identity: Identity, signal: AbortSignal): ApiRequest {
  const { path, query } = parseTarget(request.path)
  const headers: Record<string, string> = {}
  for (const [name, value] of Object.entries(request.headers ?? {})) headers[name.toLowerCase()] = value
  const body = request.body ?? ''
  return {
    method: request.method,
    path,
    query,
    headers,
    identity,
    signal,
    isUpgrade: request.upgrade === true,
    readBody() {
      const bytes =
        typeof body === 'string' ? Buffer.from(body) : Buffer.from(body.buffer, body.byteOffset, body.byteLength)
      return bytes.length > bodyLimitBytes ? Promise.reject(tooLarge(bodyLimitBytes)) : Promise.resolve(bytes)
    },
  }
}

/** Aborts `controller` with any of `signals`; returns the function that stops following them. */
function follow(controller: AbortController, signals: readonly AbortSignal[]): () => void {
  function abort(this: AbortSignal): void {
    controller.abort(this.reason)
  }
  for (const signal of signals) {
    if (signal.aborted) controller.abort(signal.reason)
    signal.addEventListener('abort', abort)
  }
  return () => {
    for (const signal of signals) signal.removeEventListener('abort', abort)
  }
}

function startDeadline(controller: AbortController, deadlineMs: number): NodeJS.Timeout | undefined {
  if (deadlineMs <= 0) return undefined
  return setTimeout(() => controller.abort(new DOMException('The request took too long', 'TimeoutError')), deadlineMs)
}

async function untilAborted<T>(work: Promise<T>, signal: AbortSignal): Promise<T> {
  if (signal.aborted) throw signal.reason
  const { promise, reject } = Promise.withResolvers<never>()
  function abort(): void {
    reject(signal.reason)
  }
  signal.addEventListener('abort', abort)
  try {
    return await Promise.race([work, promise])
  } finally {
    signal.removeEventListener('abort', abort)
  }
}

/** The other side learns of a fault by the end of the connection. */
async function serveSwitched(body: { switchTo(connection: Duplex): Promise<void> }, far: Duplex): Promise<void> {
  far.on('error', () => far.destroy())
  await body.switchTo(far).catch(() => {})
  far.destroy()
}

async function* toAsync(pieces: readonly Piece[]): AsyncGenerator<Uint8Array> {
  for (const slice of inSlices(pieces)) {
    yield slice
    // Copying a megabyte takes a moment; whoever else asks comes in between.
    if (pieces.length > 1) await nextTurn()
  }
}

/** Runs the stream while somebody reads it; leaving the iteration ends it. */
function readStream(
  body: { stream(sink: Sink): Promise<void> },
  controller: AbortController,
  release: () => void,
): AsyncIterable<Uint8Array> {
  const queue = new QueueSink(controller.signal)
  const finished = body.stream(queue).then(
    () => queue.finish(),
    (error: unknown) => queue.finish(error),
  )
  return {
    async *[Symbol.asyncIterator]() {
      try {
        yield* queue.read()
      } finally {
        controller.abort()
        release()
        await finished
      }
    },
  }
}

class QueueSink implements Sink {
  readonly isLocal = true
  readonly #signal: AbortSignal
  #pieces: Buffer[] = []
  #waiting = 0
  #isFinished = false
  #error: unknown
  #wakeReader: () => void = () => undefined
  #wakeWriters: (() => void)[] = []

  constructor(signal: AbortSignal) {
    this.#signal = signal
    signal.addEventListener('abort', () => this.#wakeAll())
  }

  get waitingBytes(): number {
    return this.#waiting
  }

  write(bytes: Buffer): void {
    if (this.#signal.aborted) return
    this.#pieces.push(bytes)
    this.#waiting += bytes.length
    this.#wakeReader()
  }

  writeFrames(frames: readonly Frame[]): void {
    for (const { line } of frames) this.write(line)
  }

  async drained(): Promise<void> {
    if (this.#waiting === 0 || this.#signal.aborted) return
    await new Promise<void>((resolve) => this.#wakeWriters.push(resolve))
  }

  finish(error?: unknown): void {
    this.#isFinished = true
    this.#error = error
    this.#wakeAll()
  }

  async *read(): AsyncGenerator<Uint8Array> {
    for (;;) {
      const pieces = this.#pieces
      this.#pieces = []
      for (const piece of pieces) {
        this.#waiting -= piece.length
        yield piece
      }
      if (this.#waiting === 0) for (const wake of this.#wakeWriters.splice(0)) wake()
      if (this.#pieces.length > 0) continue
      if (this.#isFinished) {
        if (this.#error !== undefined) throw this.#error
        return
      }
      if (this.#signal.aborted) return
      await new Promise<void>((resolve) => (this.#wakeReader = resolve))
    }
  }

  #wakeAll(): void {
    this.#wakeReader()
    for (const wake of this.#wakeWriters.splice(0)) wake()
  }
}
