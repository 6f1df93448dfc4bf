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
      turns.run('first', async () => {
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
    assert.equal(await turns.run('first', () => Promise.resolve('again')), 'again')
  })

  const orders: readonly { readonly name: string; readonly waiting: string; readonly expected: string }[] = [
    { name: 'lets one be cleared away for each that starts', waiting: 'ffffcccc', expected: 'cfcfcfcf' },
    { name: 'lets new ones pass those that start again', waiting: 'aaaaff', expected: 'ffaaaa' },
    { name: 'lets one start again beside any number of new ones', waiting: 'affffff', expected: 'fffafff' },
    { name: 'serves all kinds at once', waiting: 'aaaaccccffff', expected: 'cfcacfcaffaa' },
  ]
  for (const { name, waiting, expected } of orders) {
    it(name, async () => {
      const turns = new Turns(1)
      const held = Promise.withResolvers<void>()
      const holder = turns.run('first', () => held.promise)
      const begun: string[] = []
      const kinds = { c: 'clear', f: 'first', a: 'again' } as const
      const work = Array.from(waiting, (letter) =>
        turns.run(kinds[letter as keyof typeof kinds], async () => void begun.push(letter)),
      )
      held.resolve()
      await Promise.all([holder, ...work])
      assert.equal(begun.join(''), expected)
    })
  }
})
