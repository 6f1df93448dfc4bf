import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { setImmediate as turn } from 'node:timers/promises'

import { Turns } from './turns.ts'

describe('Turns', () => {
  it('lets so many work at once, in the order they came, whether or not they fail', async () => {
    const turns = new Turns(3)
    const begun: number[] = []
    let [active, most] = [0, 0]
    const work = Array.from({ length: 20 }, (_, index) =>
      turns.run(async () => {
        begun.push(index)
        active += 1
        most = Math.max(most, active)
        await turn()
        active -= 1
        if (index % 5 === 0) throw new Error(`${index}`)
        return index
      }),
    )
    const settled = await Promise.allSettled(work)
    assert.equal(most, 3)
    assert.deepEqual(
      begun,
      begun.toSorted((a, b) => a - b),
    )
    assert.deepEqual(
      settled.flatMap((one, index) => (one.status === 'rejected' ? [index] : [])),
      [0, 5, 10, 15],
    )
    assert.equal(await turns.run(() => Promise.resolve('again')), 'again')
  })
})
