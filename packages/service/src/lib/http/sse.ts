import type { OutgoingHttpHeaders, ServerResponse } from 'node:http'
import { eventInvalid } from './errors.ts'
import { Reply, WrittenBody } from './reply.ts'
import type { ReplyOptions } from './reply.ts'
import { onLeave } from './server-connection.ts'

/** One event of a stream (HTML standard, 9.2 Server-sent events). */
export interface ServerEvent {
  /** Text as it is, anything else as JSON. Without it the event only sets `id` or `retry`. */
  readonly data?: unknown
  /** Its type; without one browsers call it `message`. */
  readonly event?: string | undefined
  /** What a client that comes back names in `last-event-id`. */
  readonly id?: string | undefined
  /** How long a client waits before it comes back, in milliseconds. */
  readonly retry?: number | undefined
}

/** Text is the data of an event. */
export type EventSourceItem = ServerEvent | string

/** Events, or a function that makes them, whose signal aborts when the caller goes away or the service stops. */
export type EventStream = AsyncIterable<EventSourceItem> | ((signal: AbortSignal) => AsyncIterable<EventSourceItem>)

export interface EventsOptions extends ReplyOptions {
  /** After so long without an event a comment is sent, so that nobody on the way takes the connection for dead. Default 15000. */
  readonly heartbeatMs?: number | undefined
  /** A caller that takes nothing for so long is cut off. Default 60000. */
  readonly stallTimeoutMs?: number | undefined
  /** Sent first: how long the client waits before it comes back after the end. Default: its own, mostly 3000. */
  readonly retryMs?: number | undefined
}

/**
 * An answer of server-sent events. It ends with the source, when the caller goes away, and when the service stops: clients
 * then come back elsewhere with the last `id` they saw. The next event is asked for when the caller has taken the last.
 *
 * ```ts
 * router.get('/ticks', () => events(async function* (signal) {
 *   for await (const at of setInterval(1000, undefined, { signal })) yield { event: 'tick', data: { at } }
 * }))
 * ```
 */
export function events(source: EventStream, options: EventsOptions = {}): Reply {
  return new Reply(new EventsBody(source, options), options.status ?? 200, {
    'content-type': 'text/event-stream; charset=utf-8',
    'cache-control': 'no-cache, no-transform',
    // nginx would collect events until its buffer is full.
    'x-accel-buffering': 'no',
    ...options.headers,
  })
}

/**
 * The text of an event on the wire.
 *
 * @throws {ServiceError} `FAIRLEAD_SERVICE_EVENT` for a type or id with a line break, which would be another field.
 */
export function renderEvent(item: EventSourceItem): string {
  const { event, id, retry, data } = asEvent(item)
  let text = ''
  if (event !== undefined) text += `event: ${singleLine('event', event)}\n`
  if (id !== undefined) text += `id: ${singleLine('id', id)}\n`
  if (retry !== undefined) {
    if (!Number.isInteger(retry) || retry < 0) throw eventInvalid('retry', retry, 'it is not a whole number')
    text += `retry: ${retry}\n`
  }
  if (data !== undefined) {
    const content = typeof data === 'string' ? data : (JSON.stringify(data) ?? 'null')
    for (const line of content.split(/\r\n|\r|\n/)) text += `data: ${line}\n`
  }
  return `${text}\n`
}

function asEvent(item: EventSourceItem): ServerEvent {
  return typeof item === 'string' ? { data: item } : item
}

function singleLine(field: 'event' | 'id', value: string): string {
  if (/[\r\n\0]/.test(value)) throw eventInvalid(field, value, 'it has a line break')
  return value
}

class EventsBody extends WrittenBody {
  readonly #source: EventStream
  readonly #options: EventsOptions

  constructor(source: EventStream, options: EventsOptions) {
    super()
    this.#source = source
    this.#options = options
  }

  async writeTo(response: ServerResponse, status: number, headers: Reply['headers']): Promise<void> {
    response.writeHead(status, headers as OutgoingHttpHeaders)
    if (response.req.method === 'HEAD') {
      response.end()
      return
    }
    await pump(response, this.#source, this.#options)
  }
}

async function pump(response: ServerResponse, source: EventStream, options: EventsOptions): Promise<void> {
  const over = new AbortController()
  const ended = Promise.withResolvers<undefined>()
  const end = (reason: string) => (): void => {
    ended.resolve(undefined)
    over.abort(new Error(reason))
  }
  const onClose = end('The caller has gone away')
  response.once('close', onClose)
  const stay = onLeave(response, end('The service is stopping'))
  const writer = createWriter(response, options)
  let items: AsyncIterator<EventSourceItem> | undefined
  try {
    response.flushHeaders()
    if (options.retryMs !== undefined)
      await Promise.race([writer.write(renderEvent({ retry: options.retryMs })), ended.promise])
    const iterable = typeof source === 'function' ? source(over.signal) : source
    items = iterable[Symbol.asyncIterator]()
    for (;;) {
      const next = await Promise.race([items.next(), ended.promise])
      if (next === undefined || next.done === true) break
      await Promise.race([writer.write(renderEvent(next.value)), ended.promise])
    }
    if (!response.destroyed) response.end()
  } catch (error) {
    // A source that was told to stop may say so by throwing.
    if (over.signal.aborted) {
      if (!response.destroyed) response.end()
      return
    }
    // Breaking off tells the client that this is not the end.
    response.destroy()
    throw error
  } finally {
    writer.stop()
    stay()
    response.removeListener('close', onClose)
    // A generator that hangs in an await takes this when it gets there.
    items?.return?.()?.catch(() => {})
  }
}

/** Writes with back-pressure, and a sign of life when there is nothing to write. */
function createWriter(
  response: ServerResponse,
  { heartbeatMs = 15_000, stallTimeoutMs = 60_000 }: EventsOptions,
): { write(text: string): Promise<void> | undefined; stop(): void } {
  let full: PromiseWithResolvers<void> | undefined
  let fullSince = 0
  const onDrain = (): void => {
    full?.resolve()
    full = undefined
  }
  const beat = (): void => {
    if (full === undefined) void write(':\n\n')
    else if (performance.now() - fullSince >= stallTimeoutMs) response.destroy()
  }
  const timer = setInterval(beat, heartbeatMs)
  response.on('drain', onDrain)
  const write = (text: string): Promise<void> | undefined => {
    timer.refresh()
    if (response.destroyed || response.write(text)) return undefined
    fullSince = performance.now()
    full = Promise.withResolvers<void>()
    return full.promise
  }
  return {
    write,
    stop() {
      clearInterval(timer)
      response.removeListener('drain', onDrain)
    },
  }
}
