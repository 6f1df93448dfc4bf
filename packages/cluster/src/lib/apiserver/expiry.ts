import type { KubeObject } from '@fairlead/kube/types'
import type { Event } from '@fairlead/kube/types/core-v1'

import type { Store } from '../storage/store.ts'
import { knownResource, readObject, stampRevision } from './resource.ts'

const eventLifeMs = 60 * 60_000
const sweepEveryMs = 60_000

/** Deletes events an hour after they last happened. Returns the function that stops it. */
export function expireEvents(store: Store, now: () => number, onError: (error: unknown) => void): () => void {
  const timer = setInterval(() => void sweepEvents(store, now()).catch(onError), sweepEveryMs)
  timer.unref()
  return () => clearInterval(timer)
}

/** Deletes every event that is over at `now`. */
export async function sweepEvents(store: Store, now: number): Promise<void> {
  const events = knownResource('', 'v1', 'events')
  // Deletions change the collection while it is walked.
  const listed = [...store.list(events.collection)]
  for (const entry of listed) {
    const event = readObject(events, entry) as KubeObject & Event
    const last =
      event.series?.lastObservedTime ?? event.lastTimestamp ?? event.eventTime ?? event.metadata.creationTimestamp
    if (now - Date.parse(last ?? '') < eventLifeMs) continue
    // An event that happened again in the meantime has a newer version and stays.
    await store.transact(events.collection, entry.id, (current) => {
      if (current !== entry) return undefined
      return { operation: 'delete', encode: (revision) => stampRevision(event, revision) }
    })
  }
}
