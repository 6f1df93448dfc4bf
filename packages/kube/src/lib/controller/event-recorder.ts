import { randomBytes } from 'node:crypto'

import type { KubeClient } from '../client/client.ts'
import { isNotFound, KubeError } from '../client/kube-error.ts'
import type { KubeResource } from '../client/resource.ts'
import type { Event, ObjectReference } from '../types/generated/core-v1.ts'
import { renderTime, systemClock } from './clock.ts'
import type { Clock } from './clock.ts'

export interface EventDetails {
  readonly type: 'Normal' | 'Warning'
  /** One word in CamelCase, such as `ScalingReplicaSet`. */
  readonly reason: string
  readonly message: string
  /** Part of the object the event is about, such as `spec.containers{app}`. */
  readonly fieldPath?: string | undefined
}

/** Writes what happened to objects as core/v1 Events, where `kubectl describe` shows them. */
export interface EventRecorder {
  /** Queues the event and returns at once; a write that fails is given up, and reported to `onError` unless the namespace is going. */
  record(object: KubeResource, details: EventDetails): void
  /** Resolves when everything recorded so far is written. */
  flush(): Promise<void>
}

export interface EventRecorderOptions {
  /** Host the component runs on, shown as `component, host`. */
  readonly host?: string | undefined
  readonly onError?: ((error: unknown) => void) | undefined
  readonly clock?: Clock | undefined
}

/** Repeats within this time raise the count of the first event. */
const seriesMs = 10 * 60_000
/** From this many different messages with one reason on, an object's events are combined. */
const similarLimit = 10
/** One object may make a burst of so many events, then one per {@link refillMs}. */
const burst = 25
const refillMs = 5 * 60_000
/** What is remembered, and what may wait to be written. */
const maxRemembered = 4096
const maxWaiting = 1000

interface Series {
  readonly name: string
  readonly namespace: string
  count: number
  lastAt: number
}

interface Spending {
  readonly messages: Set<string>
  since: number
  tokens: number
  refilledAt: number
}

/** Records events as `component`. Repeats, floods of similar events and runaway objects are folded as Kubernetes' own recorder does. */
export function createEventRecorder(
  client: KubeClient,
  component: string,
  options: EventRecorderOptions = {},
): EventRecorder {
  const { clock = systemClock, host, onError } = options
  const events = client.resource('v1/Event')
  const seriesByKey = new Map<string, Series>()
  const spendingByKey = new Map<string, Spending>()
  let tail = Promise.resolve()
  let waiting = 0

  /** Takes one from the object's allowance. */
  function isAllowed(reference: ObjectReference, now: number): boolean {
    const spending = remember(spendingByKey, referenceKey(reference), () => newSpending(now))
    const refills = Math.floor((now - spending.refilledAt) / refillMs)
    spending.tokens = Math.min(burst, spending.tokens + refills)
    spending.refilledAt += refills * refillMs
    spending.tokens -= 1
    return spending.tokens >= 0
  }

  function combine(reference: ObjectReference, { type, reason, message }: EventDetails, now: number): string {
    const key = [referenceKey(reference), type, reason].join('\0')
    const similar = remember(spendingByKey, key, () => newSpending(now))
    if (now - similar.since > seriesMs) {
      similar.messages.clear()
      similar.since = now
    }
    if (similar.messages.size >= similarLimit && !similar.messages.has(message)) {
      return `(combined from similar events): ${message}`
    }
    similar.messages.add(message)
    return message
  }

  async function write(reference: ObjectReference, details: EventDetails, now: number): Promise<void> {
    const message = combine(reference, details, now)
    const isCombined = message !== details.message
    const key = [referenceKey(reference), details.type, details.reason, isCombined ? '' : message].join('\0')
    const series = seriesByKey.get(key)
    if (series !== undefined && now - series.lastAt <= seriesMs && (await repeat(series, message, now))) {
      return
    }
    const event = renderEvent(reference, { ...details, message }, now)
    await events.create(event)
    seriesByKey.delete(key)
    remember(seriesByKey, key, () => {
      return { name: event.metadata.name ?? '', namespace: event.metadata.namespace ?? '', count: 1, lastAt: now }
    })
  }

  /** Counts one more; false when the event has been deleted meanwhile. */
  async function repeat(series: Series, message: string, now: number): Promise<boolean> {
    const body = { count: series.count + 1, lastTimestamp: renderTime(now), message }
    try {
      await events.patch(series.name, { type: 'merge', body }, { namespace: series.namespace })
    } catch (error) {
      if (isNotFound(error)) {
        return false
      }
      throw error
    }
    series.count += 1
    series.lastAt = now
    return true
  }

  function renderEvent(involvedObject: ObjectReference, { type, reason, message }: EventDetails, now: number): Event {
    // Objects without a namespace have their events in "default".
    const namespace = involvedObject.namespace ?? 'default'
    return {
      apiVersion: 'v1',
      kind: 'Event',
      metadata: { name: `${involvedObject.name ?? ''}.${randomBytes(8).toString('hex')}`, namespace },
      involvedObject,
      type,
      reason,
      message,
      source: { component, ...(host !== undefined && { host }) },
      reportingComponent: component,
      reportingInstance: host ?? '',
      firstTimestamp: renderTime(now),
      lastTimestamp: renderTime(now),
      count: 1,
    }
  }

  return {
    record(object, details) {
      const now = clock.now()
      const reference = toReference(object, details.fieldPath)
      if (waiting >= maxWaiting || !isAllowed(reference, now)) {
        return
      }
      waiting += 1
      // One after the other, so a repeat finds its first.
      tail = tail
        .then(() => write(reference, details, now))
        .catch((error: unknown) => {
          if (!isNamespaceGoing(error)) onError?.(error)
        })
        .finally(() => {
          waiting -= 1
        })
    },
    flush: () => tail,
  }
}

/** Whether a write failed because its namespace is being deleted, or is: nobody will read of what was in it. */
function isNamespaceGoing(error: unknown): boolean {
  if (!(error instanceof KubeError)) return false
  const { kind, causes = [] } = error.status.details ?? {}
  return causes.some(({ reason }) => reason === 'NamespaceTerminating') || (isNotFound(error) && kind === 'namespaces')
}

function newSpending(now: number): Spending {
  return { messages: new Set(), since: now, tokens: burst, refilledAt: now }
}

/** Reads from a map that forgets its oldest entries. */
function remember<V>(map: Map<string, V>, key: string, create: () => V): V {
  const known = map.get(key)
  const value = known ?? create()
  if (known === undefined) {
    map.set(key, value)
    for (const oldest of map.keys()) {
      if (map.size <= maxRemembered) {
        break
      }
      map.delete(oldest)
    }
  }
  return value
}

function referenceKey({ kind, namespace, name, uid, fieldPath }: ObjectReference): string {
  return [kind, namespace, name, uid, fieldPath].join('\0')
}

/** The reference by which events and bindings name an object. */
export function toReference({ apiVersion, kind, metadata }: KubeResource, fieldPath?: string): ObjectReference {
  return {
    apiVersion,
    kind,
    name: metadata?.name,
    namespace: metadata?.namespace,
    uid: metadata?.uid,
    resourceVersion: metadata?.resourceVersion,
    fieldPath,
  }
}
