import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { setImmediate as nextTurn } from 'node:timers/promises'

import { openStore } from '../storage/store.ts'
import type { Store } from '../storage/store.ts'
import { createFrame } from './exchange.ts'
import { FanOut } from './fan-out.ts'
import type { Follower, SharedEvent } from './fan-out.ts'
import { startTestServer } from './test-server.ts'

async function open(): Promise<{ store: Store; fanOut: FanOut }> {
  const store = await openStore({ dir: '', durability: 'memory' })
  return { store, fanOut: new FanOut(store) }
}

async function put(store: Store, id: string): Promise<void> {
  await store.put('pods', id, () => Buffer.from(id))
}

/** Notes what it is told, and how it came together. */
class Notes implements Follower {
  readonly isLocal: boolean
  readonly told: string[][] = []
  readonly events: SharedEvent[] = []

  constructor(options: { isLocal?: boolean; takesMs?: number } = {}) {
    this.isLocal = options.isLocal ?? false
    this.#takesMs = options.takesMs ?? 0
  }

  readonly #takesMs: number

  tell(events: readonly SharedEvent[]): void {
    const until = performance.now() + this.#takesMs
    while (performance.now() < until);
    this.told.push(events.map(({ event }) => event.entry.id))
    this.events.push(...events)
  }

  get ids(): string[] {
    return this.told.flat()
  }
}

async function until(isTrue: () => boolean): Promise<number> {
  let turns = 0
  for (const end = performance.now() + 30_000; !isTrue(); turns += 1) {
    assert.ok(performance.now() < end, 'it takes too long')
    await nextTurn()
  }
  return turns
}

describe('FanOut', () => {
  it('tells every follower of every event, those made in one turn together', async () => {
    const { store, fanOut } = await open()
    const followers = Array.from({ length: 30 }, () => new Notes())
    for (const follower of followers) fanOut.follow('pods', undefined, follower)
    await Promise.all(['a', 'b', 'c'].map((id) => put(store, id)))
    await store.put('nodes', 'n', () => Buffer.from('n'))
    assert.deepEqual(followers[0]?.told, [])
    await until(() => followers.every(({ ids }) => ids.length === 3))
    for (const { told } of followers) assert.deepEqual(told, [['a', 'b', 'c']])
  })

  it('lets others have a turn while a round lasts, and tells what came meanwhile in the next one', async () => {
    const { store, fanOut } = await open()
    const followers = Array.from({ length: 100 }, () => new Notes({ takesMs: 1 }))
    for (const follower of followers) fanOut.follow('pods', undefined, follower)
    await put(store, 'first')
    await until(() => followers[0]?.ids.length === 1)
    assert.deepEqual(followers.at(-1)?.ids, [])
    await put(store, 'second')
    await put(store, 'third')
    const turns = await until(() => followers.at(-1)?.ids.length === 3)
    assert.ok(turns >= 5, `there were ${turns} turns`)
    for (const { told } of followers) assert.deepEqual(told, [['first'], ['second', 'third']])
  })

  it('goes on with one resource while a round of another lasts', async () => {
    const { store, fanOut } = await open()
    const many = Array.from({ length: 100 }, () => new Notes({ takesMs: 1 }))
    for (const follower of many) fanOut.follow('pods', undefined, follower)
    const node = new Notes()
    fanOut.follow('nodes', undefined, node)
    await put(store, 'a')
    await until(() => many[0]?.ids.length === 1)
    await store.put('nodes', 'n', () => Buffer.from('n'))
    await until(() => node.ids.length === 1)
    assert.deepEqual(many.at(-1)?.ids, [])
    await until(() => many.at(-1)?.ids.length === 1)
  })

  it('tells who comes later nothing twice and leaves nothing out', async () => {
    const { store, fanOut } = await open()
    const followers = Array.from({ length: 40 }, () => new Notes({ takesMs: 1 }))
    for (const follower of followers) fanOut.follow('pods', undefined, follower)
    await put(store, 'a')
    await until(() => followers[0]?.ids.length === 1)
    await put(store, 'b')
    const late = new Notes()
    // Everything from the beginning: some of it is on its way to the others.
    const { backlog } = fanOut.follow('pods', 0, late)
    assert.deepEqual(
      backlog.map(({ event }) => event.entry.id),
      ['a', 'b'],
    )
    await put(store, 'c')
    await until(() => followers.every(({ ids }) => ids.length === 3) && late.ids.length > 0)
    assert.deepEqual(late.ids, ['c'])
  })

  it('tells followers in this process at the moment of the change', async () => {
    const { store, fanOut } = await open()
    const local = new Notes({ isLocal: true })
    const remote = new Notes()
    const following = [local, remote].map((follower) => fanOut.follow('pods', undefined, follower))
    await store.put('pods', 'a', () => Buffer.from('a'))
    assert.deepEqual(local.ids, ['a'])
    assert.deepEqual(
      following.map(({ isBehind }) => isBehind),
      [false, true],
    )
    await until(() => remote.ids.length === 1)
    assert.equal(following[1]?.isBehind, false)
  })

  it('shares what is made of an event among all who are told, and does not keep it', async () => {
    const { store, fanOut } = await open()
    const [first, second] = [new Notes({ isLocal: true }), new Notes()]
    for (const follower of [first, second]) fanOut.follow('pods', undefined, follower)
    await put(store, 'a')
    first.events[0]?.frames.set('shape', { ADDED: createFrame(Buffer.from('a')) })
    await until(() => second.ids.length === 1)
    assert.equal(second.events[0], first.events[0])
    assert.equal(fanOut.follow('pods', 0, new Notes()).backlog[0]?.frames.size, 0)
  })

  it('tells who has stopped nothing more, in the middle of a round too', async () => {
    const { store, fanOut } = await open()
    const followers = Array.from({ length: 40 }, () => new Notes({ takesMs: 1 }))
    const following = followers.map((follower) => fanOut.follow('pods', undefined, follower))
    await put(store, 'a')
    await until(() => followers[0]?.ids.length === 1)
    following.at(-1)?.stop()
    await until(() => followers.at(-2)?.ids.length === 1)
    for (const each of following) each.stop()
    await put(store, 'b')
    const again = new Notes()
    fanOut.follow('pods', undefined, again)
    await put(store, 'c')
    await until(() => again.ids.length === 1)
    assert.deepEqual(again.ids, ['c'])
    assert.deepEqual(followers.at(-1)?.ids, [])
    assert.deepEqual(followers[0]?.ids, ['a'])
  })

  it('lets who writes wait once those who watch are far behind, until they are not', async () => {
    const { store, fanOut } = await open()
    const followers = Array.from({ length: 100 }, () => new Notes({ takesMs: 5 }))
    for (const follower of followers) fanOut.follow('pods', undefined, follower)
    assert.equal(fanOut.room('pods'), undefined)
    await put(store, 'a')
    await until(() => followers[60]?.ids.length === 1)
    const room = fanOut.room('pods')
    assert.ok(room)
    assert.equal(fanOut.room('nodes'), undefined)
    await room
    assert.equal(followers.at(-1)?.ids.length, 1)
    assert.equal(fanOut.room('pods'), undefined)
  })

  it('does not let a crowd wait', async () => {
    const { store, fanOut } = await open()
    const followers = Array.from({ length: 100 }, () => new Notes({ takesMs: 5 }))
    const following = followers.map((follower) => fanOut.follow('pods', undefined, follower))
    await put(store, 'a')
    await until(() => followers[60]?.ids.length === 1)
    const rooms = Array.from({ length: 100 }, () => fanOut.room('pods'))
    assert.equal(rooms.filter((room) => room !== undefined).length, 64)
    // Those who wait go on when nobody watches any more.
    for (const each of following) each.stop()
    await Promise.all(rooms.filter((room) => room !== undefined))
  })

  it('is asked by writes alone', async (t) => {
    await using api = await startTestServer()
    const { promise: room, resolve: proceed } = Promise.withResolvers<void>()
    const asked = t.mock.method(FanOut.prototype, 'room', () => room)
    const path = '/api/v1/namespaces/default/configmaps'
    const body = { apiVersion: 'v1', kind: 'ConfigMap', metadata: { name: 'late' } }
    const created = api.call('POST', path, body)
    assert.equal((await api.call('GET', path)).body.items.length, 0)
    assert.equal((await api.call('GET', `${path}/late`)).status, 404)
    assert.deepEqual(
      asked.mock.calls.map((call) => call.arguments),
      [['configmaps']],
    )
    proceed()
    assert.equal((await created).status, 201)
  })
})
