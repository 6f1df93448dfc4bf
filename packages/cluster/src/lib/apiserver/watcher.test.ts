import assert from 'node:assert/strict'
import { describe, it } from 'node:test'

import { openStore } from '../storage/store.ts'
import type { Frame, Sink } from './exchange.ts'
import { FanOut } from './fan-out.ts'
import { negotiateStream } from './negotiate.ts'
import { knownResource } from './resource.ts'
import type { Resource } from './resource.ts'
import { Watcher } from './watcher.ts'
import type { Watched } from './watcher.ts'

const configMaps = knownResource('', 'v1', 'configmaps')

/** A client in this process that notes the types of what it is told. */
class Notes implements Sink {
  readonly isLocal = true
  readonly waitingBytes = 0
  readonly types: string[] = []

  write(bytes: Buffer): void {
    this.types.push((JSON.parse(bytes.toString()) as { type: string }).type)
  }

  writeFrames(frames: Frame[]): void {
    for (const { line } of frames) this.write(line)
  }

  drained(): Promise<void> {
    return Promise.resolve()
  }
}

describe('Watcher', () => {
  it('sends no bookmark that passes over an event which a webhook still converts', async (t) => {
    t.mock.timers.enable({ apis: ['setInterval'] })
    const store = await openStore({ dir: '', durability: 'memory' })
    const { promise: converted, resolve: convert } = Promise.withResolvers<void>()
    const resource: Resource = { ...configMaps, form: { ...configMaps.form, prepare: () => converted } }
    const selection = { prefix: '', id: undefined, isEverything: true, needsForm: false, matches: () => true }
    const watched: Watched = {
      store,
      fanOut: new FanOut(store),
      resource,
      plan: { selection, since: 0, notBefore: 0, hasBookmarks: true, marksInitialEnd: false, timeoutMs: 60_000 },
      format: negotiateStream({ headers: {}, query: new URLSearchParams() }, resource),
      onError: assert.ifError,
      counted: { events: 0 },
    }
    const notes = new Notes()
    const leaving = new AbortController()
    const running = new Watcher(watched, notes).run(leaving.signal)
    const text = '{"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":"a","namespace":"b","resourceVersion":"1"}}'
    await store.put('configmaps', 'b/a', () => Buffer.from(text))
    // What is written elsewhere is a reason for a bookmark.
    await store.put('nodes', 'n', () => Buffer.from('{}'))
    t.mock.timers.tick(60_000)
    assert.deepEqual(notes.types, [])
    convert()
    for (let turns = 0; turns < 20 && notes.types.length === 0; turns += 1) await Promise.resolve()
    t.mock.timers.tick(60_000)
    assert.deepEqual(notes.types, ['ADDED', 'BOOKMARK'])
    leaving.abort()
    await running
  })
})
