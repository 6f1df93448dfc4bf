import { codeOf } from '../errors.ts'
import type { Entry } from '../storage/collection.ts'
import type { StoreEvent } from '../storage/history.ts'
import type { Store } from '../storage/store.ts'
import { createFrame } from './exchange.ts'
import type { ApiRequest, ApiResponse, Frame, Sink } from './exchange.ts'
import { parseWatchOptions } from './list-options.ts'
import { reachRevision } from './list.ts'
import { negotiateStream } from './negotiate.ts'
import type { Format } from './negotiate.ts'
import { renderProtobufEvent } from './render-protobuf.ts'
import { renderBookmark, renderEntry, renderValue } from './render.ts'
import { readObject, stampRevision } from './resource.ts'
import type { Resource } from './resource.ts'
import type { ResourceRoute } from './route.ts'
import { parseSelection } from './selection.ts'
import type { Selection } from './selection.ts'
import { expired } from './status.ts'
import type { StatusError } from './status.ts'
import { watchOverWebSocket } from './watch-websocket.ts'
import { asksWebSocket } from './websocket-answer.ts'

type EventType = 'ADDED' | 'MODIFIED' | 'DELETED' | 'BOOKMARK' | 'ERROR'

/** A watcher this far behind is told to list again, so that one slow client cannot fill the memory. */
const waitingLimitBytes = 16 << 20
const bookmarkEveryMs = 60_000
/** Clients without a wish are asked to come back after half an hour to an hour, at different times. */
const defaultWatchMs = 30 * 60_000

/** Serves a watch: the state first when asked for, then every change, until the client leaves or the time is over. */
export async function serveWatch(
  store: Store,
  resource: Resource,
  route: ResourceRoute,
  request: ApiRequest,
  onError: (error: unknown) => void,
): Promise<ApiResponse> {
  const format = negotiateStream(request, resource)
  const plan = parseWatch(store, resource, route, request.query)
  if (plan.notBefore > store.revision) await reachRevision(store, plan.notBefore, request.signal)
  const run = (sink: Sink, signal: AbortSignal): Promise<void> =>
    runWatch(store, resource, plan, format, sink, signal, onError)
  if (asksWebSocket(request)) return watchOverWebSocket(request, format, run)
  return {
    status: 200,
    headers: { 'content-type': format.contentType, 'cache-control': 'no-cache, private' },
    body: { stream: (sink) => run(sink, request.signal) },
  }
}

interface WatchPlan {
  readonly selection: Selection
  /** Changes after this; undefined: the state of now first. */
  readonly since: number | undefined
  /** The state of now is not shown before the store has reached this. */
  readonly notBefore: number
  readonly hasBookmarks: boolean
  /** Whether the end of the state is marked by a bookmark. */
  readonly marksInitialEnd: boolean
  readonly timeoutMs: number
}

function parseWatch(store: Store, resource: Resource, route: ResourceRoute, query: URLSearchParams): WatchPlan {
  const { revision = 0, sendsState, hasBookmarks, timeoutMs } = parseWatchOptions(query)
  return {
    selection: parseSelection(resource, route, query),
    // Asked for neither state nor a place in history, the watch begins now.
    since: sendsState ? undefined : revision === 0 ? store.revision : revision,
    notBefore: sendsState ? revision : 0,
    hasBookmarks,
    marksInitialEnd: sendsState && hasBookmarks,
    timeoutMs: timeoutMs > 0 ? timeoutMs : defaultWatchMs * (1 + Math.random()),
  }
}

async function runWatch(
  store: Store,
  resource: Resource,
  plan: WatchPlan,
  format: Format,
  sink: Sink,
  signal: AbortSignal,
  onError: (error: unknown) => void,
): Promise<void> {
  const { promise: ended, resolve: end } = Promise.withResolvers<'over' | 'slow'>()
  const { selection } = plan
  let sent = store.revision
  let isOver = false
  let prepared = Promise.resolve()
  /** Events of a version that a webhook converts wait for it, and for each other. */
  function deliver(event: StoreEvent): void {
    if (resource.form.prepare === undefined) return send(event)
    const bytes = [event.entry, event.previous].flatMap((entry) => (entry === undefined ? [] : [entry.bytes]))
    prepared = prepared
      .then(() => resource.form.prepare?.(bytes))
      .then(
        () => send(event),
        (error: unknown) => {
          onError(error)
          stop('over')
        },
      )
  }
  function send(event: StoreEvent): void {
    if (isOver) return
    try {
      const shared = frameOf(resource, selection, event, format)
      if (shared === undefined) return
      sent = event.revision
      sink.writeFrame(shared)
      if (sink.waitingBytes > waitingLimitBytes) stop('slow')
    } catch (error) {
      // Called from inside the write that is told: a fault here must not be that write's.
      onError(error)
      stop('over')
    }
  }
  function stop(why: 'over' | 'slow'): void {
    isOver = true
    end(why)
  }
  const subscription = subscribe(store, resource, plan, deliver)
  if (subscription instanceof Error) {
    sink.writeFrame(errorFrame(subscription, format))
    return
  }
  const timer = setTimeout(() => end('over'), Math.min(plan.timeoutMs, 2 ** 31 - 1))
  let bookmarks: NodeJS.Timeout | undefined
  function bookmark(): void {
    if (store.revision > sent)
      sink.writeFrame(frame('BOOKMARK', renderBookmark(resource, store.revision, false, format), format))
    sent = store.revision
  }
  signal.addEventListener('abort', () => end('over'))
  // A definition that changed: clients list again and see its objects as they are now.
  resource.retired?.addEventListener('abort', () => stop('over'))
  try {
    if (plan.since === undefined) await sendState(store, resource, plan, format, sink, subscription.entries, signal)
    for (const event of subscription.backlog) deliver(event)
    subscription.release()
    // Only now: a bookmark promises that everything before it has been sent.
    if (plan.hasBookmarks) bookmarks = setInterval(bookmark, bookmarkEveryMs)
    if (signal.aborted) end('over')
    if ((await ended) === 'slow') await refuse(sink, format)
  } finally {
    clearTimeout(timer)
    clearInterval(bookmarks)
    subscription.unsubscribe()
  }
}

/** Subscribes and reads the state in one step; changes while the state is being sent wait behind it. */
function subscribe(
  store: Store,
  resource: Resource,
  plan: WatchPlan,
  deliver: (event: StoreEvent) => void,
): { entries: Entry[]; backlog: readonly StoreEvent[]; release(): void; unsubscribe(): void } | StatusError {
  if (plan.since !== undefined && plan.since > store.revision) {
    // No write of this store: following from there would pass over all that it has.
    return expired(`resource version ${plan.since} is not known, the newest is ${store.revision}`)
  }
  const held: StoreEvent[] = []
  let isReleased = false
  try {
    const subscription = store.subscribe(resource.collection, plan.since, (event) => {
      if (isReleased) deliver(event)
      else held.push(event)
    })
    const { selection, since } = plan
    const state = since === undefined ? [...store.list(resource.collection, { prefix: selection.prefix })] : []
    return {
      entries: state,
      backlog: subscription.backlog,
      unsubscribe: () => subscription.unsubscribe(),
      release() {
        isReleased = true
        for (const event of held) deliver(event)
      },
    }
  } catch (error) {
    if (codeOf(error) !== 'FAIRLEAD_CLUSTER_STORAGE_GONE') throw error
    return expired(`too old resource version: ${plan.since} (${store.compactedRevision})`)
  }
}

async function sendState(
  store: Store,
  resource: Resource,
  plan: WatchPlan,
  format: Format,
  sink: Sink,
  entries: readonly Entry[],
  signal: AbortSignal,
): Promise<void> {
  const { revision } = store
  if (resource.form.prepare !== undefined) await resource.form.prepare(entries.map(({ bytes }) => bytes))
  for (const entry of entries) {
    if (signal.aborted) return
    if (!plan.selection.matches(entry)) continue
    sink.write(line('ADDED', renderEntry(resource, entry, format), format))
    if (sink.waitingBytes > stateSliceBytes) await sink.drained()
  }
  if (plan.marksInitialEnd) sink.write(line('BOOKMARK', renderBookmark(resource, revision, true, format), format))
}

const stateSliceBytes = 1 << 20

/** Lets the client read what it was sent, then tells it that it fell behind. */
async function refuse(sink: Sink, format: Format): Promise<void> {
  await sink.drained()
  sink.writeFrame(errorFrame(expired('too old resource version: the watcher fell too far behind'), format))
}

/** What this watcher is told of an event; the bytes are made once for all watchers that are told the same. */
function frameOf(resource: Resource, selection: Selection, event: StoreEvent, format: Format): Frame | undefined {
  const { entry, previous } = event
  const isIn = event.operation === 'put' && selection.matches(entry)
  const wasIn = previous !== undefined && selection.matches(previous)
  if (!isIn && !wasIn) return undefined
  const type: EventType = isIn ? (wasIn ? 'MODIFIED' : 'ADDED') : 'DELETED'
  const hasLeft = type === 'DELETED' && event.operation === 'put'
  const kept = (event.cache ??= new Map<string, Frame>()) as Map<string, Frame>
  const key = `${resource.info.apiVersion} ${format.encoding} ${format.shape} ${format.metaVersion} ${format.rowObject} ${type}`
  let shared = kept.get(key)
  if (shared === undefined) {
    const shown = hasLeft && previous !== undefined ? { bytes: lastSeen(resource, previous, event.revision) } : entry
    shared = frame(type, renderEntry(resource, shown, format), format)
    kept.set(key, shared)
  }
  return shared
}

/** An object that left the selection is reported as it was, at the revision at which it left. */
function lastSeen(resource: Resource, previous: Entry, revision: number): Buffer {
  const object = readObject(resource.stored, previous)
  return stampRevision(object, revision)
}

function errorFrame(error: StatusError, format: Format): Frame {
  return frame('ERROR', renderValue(error.status, { ...format, isPretty: false }), format)
}

function frame(type: EventType, object: Buffer, format: Format): Frame {
  return createFrame(line(type, object, format))
}

function line(type: EventType, object: Buffer, format: Format): Buffer {
  if (format.encoding === 'protobuf') return renderProtobufEvent(type, object)
  return Buffer.concat([Buffer.from(`{"type":"${type}","object":`), object, lineEnd])
}

const lineEnd = Buffer.from('}\n')
