import assert from 'node:assert/strict'
import { describe, it } from 'node:test'

import { Turns } from './turns.ts'

describe('Turns', () => {
  it('lets in the first at once and the others in order, one per departure', async () => {
    const turns = new Turns()
    const entered: number[] = []
    assert.equal(turns.enter('a'), undefined)
    const others = [1, 2, 3].map(async (number) => {
      await turns.enter('a')
      entered.push(number)
    })
    for (const expected of [[], [1], [1, 2], [1, 2, 3]]) {
      await new Promise(setImmediate)
      assert.deepEqual(entered, expected)
      turns.leave('a')
    }
    await Promise.all(others)
    assert.equal(turns.enter('a'), undefined, 'nobody is left inside')
  })

  it('keeps keys apart', () => {
    const turns = new Turns()
    assert.equal(turns.enter('a'), undefined)
    assert.equal(turns.enter('b'), undefined)
  })

  it('gives the turn to who waits, not to who comes in the moment of the departure', async () => {
    const turns = new Turns()
    void turns.enter('a')
    const entered: string[] = []
    const waiting = turns.enter('a')?.then(() => entered.push('waiting'))
    turns.leave('a')
    const late = turns.enter('a')?.then(() => entered.push('late'))
    assert.ok(late !== undefined)
    await waiting
    assert.deepEqual(entered, ['waiting'])
    turns.leave('a')
    await late
  })
})
