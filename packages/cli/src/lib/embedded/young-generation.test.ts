import assert from 'node:assert/strict'
import { execFileSync } from 'node:child_process'
import { describe, it } from 'node:test'
import { mostYoungBytes } from './young-generation.ts'

/** Makes objects of which many survive, which is what V8 grows for; prints the most its young generation came to. */
const work = `
const { getHeapSpaceStatistics } = process.getBuiltinModule('node:v8')
const young = () => getHeapSpaceStatistics().find((space) => space.space_name === 'new_space').space_size
const kept = []
let most = 0
for (let round = 0; round < 60; round += 1) {
  for (let made = 0; made < 30_000; made += 1) kept[(round * 30_000 + made) % 400_000] = { made, list: [made], more: { made } }
  await new Promise((resolve) => setImmediate(resolve))
  most = Math.max(most, young())
}
console.log(most)`

function mostOf(prelude: string): number {
  const flags = ['--conditions=@fairlead/source', '--max-semi-space-size=64', '--input-type=module', '--eval']
  return Number(execFileSync(process.execPath, [...flags, `${prelude}\n${work}`], { cwd: import.meta.dirname }))
}

const own = "import { keepYoungGenerationSmall } from './young-generation.ts'"

describe('keepYoungGenerationSmall', () => {
  it('keeps the young generation from growing', () => {
    assert.ok(mostOf(`${own}\nkeepYoungGenerationSmall()`) < mostYoungBytes)
  })

  it('lets it grow afterwards, up to a limit below that of V8', () => {
    const most = mostOf(`${own}\nkeepYoungGenerationSmall()[Symbol.dispose]()`)
    assert.equal(most, mostYoungBytes)
    assert.ok(mostOf('') > mostYoungBytes)
  })
})
