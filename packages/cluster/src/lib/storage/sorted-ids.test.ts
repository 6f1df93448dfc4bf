import assert from 'node:assert/strict'
import { describe, it } from 'node:test'

import { SortedIds } from './sorted-ids.ts'

/** Numbers that look random and are the same each time. */
function* numbers(): Generator<number> {
  for (let state = 12345; ;) {
    state = (state * 1103515245 + 12345) % 2147483648
    yield state
  }
}

describe('SortedIds', () => {
  for (const { name, idAt } of [
    { name: 'in order', idAt: (index: number) => `a/${String(index).padStart(6, '0')}` },
    { name: 'backwards', idAt: (index: number) => `a/${String(999_999 - index)}` },
    { name: 'as numbers without zeros in front', idAt: (index: number) => `a/${index}` },
  ]) {
    it(`is what a sorted array is, with ids that come ${name}`, () => {
      const ids = new SortedIds()
      const all = Array.from({ length: 5000 }, (_, index) => idAt(index))
      for (const id of all) ids.add(id)
      assert.deepEqual([...ids.from('')], all.toSorted())
    })
  }

  it('is what a sorted array is through random additions and removals', () => {
    const ids = new SortedIds()
    const model = new Set<string>()
    const random = numbers()
    for (let step = 0; step < 30_000; step += 1) {
      const id = `n/${(random.next().value ?? 0) % 4000}`
      if (model.has(id)) {
        ids.remove(id)
        model.delete(id)
      } else {
        ids.add(id)
        model.add(id)
      }
      if (step % 3000 !== 0) continue
      const expected = [...model].toSorted()
      for (const start of ['', 'm', id, `${id}\0`, 'n/2', 'o']) {
        assert.deepEqual(
          [...ids.from(start)],
          expected.filter((each) => each >= start),
        )
      }
    }
    for (const id of model) ids.remove(id)
    assert.deepEqual([...ids.from('')], [])
    ids.remove('never there')
  })
})
