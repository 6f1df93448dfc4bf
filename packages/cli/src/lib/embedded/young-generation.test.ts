import assert from 'node:assert/strict'
import { execFileSync } from 'node:child_process'
import { describe, it } from 'node:test'
import { mostYoungBytes } from './young-generation.ts'

/** Makes objects of which many survive, which is what V8 grows for: twice, with room taken back in between. Prints the sizes it came to. */
const program = `
const { getHeapSpaceStatistics } = process.getBuiltinModule('node:v8')
const young = () => getHeapSpaceStatistics().find((space) => space.space_name === 'new_space').space_size
async function work() {
  const kept = []
  let most = 0
  for (let made = 0; made < 1_800_000; made += 1) {
    kept[made % 400_000] = { made, list: [made], more: { made } }
    if (made % 2_000 > 0) continue
    await new Promise((resolve) => setImmediate(resolve))
    most = Math.max(most, young())
  }
  return most
}
const first = await work()
await gc({ execution: 'async', type: 'major', flavor: 'last-resort' })
console.log(JSON.stringify([first, young(), await work()]))`

function sizesOf(prelude: string): number[] {
  const flags = ['--conditions=@fairlead/source', '--expose-gc', '--max-semi-space-size=64', '--input-type=module']
  const args = [...flags, '--eval', `${prelude}\n${program}`]
  return JSON.parse(execFileSync(process.execPath, args, { cwd: import.meta.dirname, encoding: 'utf8' }))
}

const own = "import { keepYoungGenerationSmall } from './young-generation.ts'"

describe('keepYoungGenerationSmall', () => {
  it('keeps the young generation from growing', () => {
    for (const size of sizesOf(`${own}\nkeepYoungGenerationSmall()`)) assert.ok(size < mostYoungBytes, String(size))
  })

  it('lets it grow afterwards, as often as V8 has taken room back, up to a limit below that of V8', () => {
    const [first, shrunk = mostYoungBytes, again] = sizesOf(`${own}\nkeepYoungGenerationSmall()[Symbol.dispose]()`)
    assert.deepEqual([first, again], [mostYoungBytes, mostYoungBytes])
    assert.ok(shrunk < mostYoungBytes)
    const [free = 0] = sizesOf('')
    assert.ok(free > mostYoungBytes, String(free))
  })
})
