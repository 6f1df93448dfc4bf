import type { Store } from '../storage/store.ts'
import type { ApiRequest, ApiResponse, Sink } from './exchange.ts'
import { parseWatchOptions } from './list-options.ts'
import { reachRevision } from './list.ts'
import { negotiateStream } from './negotiate.ts'
import type { Resource } from './resource.ts'
import type { ResourceRoute } from './route.ts'
import { parseSelection } from './selection.ts'
import { watchOverWebSocket } from './watch-websocket.ts'
import { Watcher } from './watcher.ts'
import type { Watched, WatchPlan } from './watcher.ts'
import { asksWebSocket } from './websocket-answer.ts'

/** Clients without a wish are asked to come back after half an hour to an hour, at different times. */
const defaultWatchMs = 30 * 60_000

/** Serves a watch: the state first when asked for, then every change, until the client leaves or the time is over. */
export async function serveWatch(
  { store, fanOut, onError, counted }: Pick<Watched, 'store' | 'fanOut' | 'onError' | 'counted'>,
  resource: Resource,
  route: ResourceRoute,
  request: ApiRequest,
): Promise<ApiResponse> {
  const format = negotiateStream(request, resource)
  const plan = parseWatch(store, resource, route, request.query)
  if (plan.notBefore > store.revision) await reachRevision(store, plan.notBefore, request.signal)
  const watched: Watched = { store, fanOut, resource, plan, format, onError, counted }
  const run = (sink: Sink, signal: AbortSignal): Promise<void> => new Watcher(watched, sink).run(signal)
  if (asksWebSocket(request)) return watchOverWebSocket(request, format, run)
  return {
    status: 200,
    headers: { 'content-type': format.contentType, 'cache-control': 'no-cache, private' },
    body: { stream: (sink) => run(sink, request.signal) },
  }
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
