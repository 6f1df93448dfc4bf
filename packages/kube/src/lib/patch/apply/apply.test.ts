import assert from 'node:assert/strict'
import { readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, it } from 'node:test'
import { runSteps } from './testing.ts'
import type { ApplyCase } from './testing.ts'

/** Cases whose results were found equal to those of upstream's own code: docs/conformance.md tells how to repeat that. */
const file = join(import.meta.dirname, '../testdata/server-side-apply.json')
const cases = JSON.parse(readFileSync(file, 'utf8')) as ApplyCase[]

if (process.env['UPDATE_TESTDATA'] === '1') {
  const lines = cases.map((each) => JSON.stringify({ ...each, expected: runSteps(each) }))
  writeFileSync(file, `[\n${lines.join(',\n')}\n]\n`)
}

describe('applyConfiguration and ownUpdate', () => {
  for (const each of cases) it(each.name, () => assert.deepEqual(runSteps(each), each.expected))
})
