import assert from 'node:assert/strict'
import { globSync, readFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { describe, it } from 'node:test'
import { fileURLToPath } from 'node:url'

const root = dirname(dirname(fileURLToPath(import.meta.url)))

describe('docs/reference/errors.md', () => {
  const documented = [
    ...readFileSync(join(root, 'docs', 'reference', 'errors.md'), 'utf8').matchAll(/^### (FAIRLEAD_[A-Z0-9_]+)$/gm),
  ].map((match) => match[1] ?? '')
  const sources = globSync('packages/*/src/**/errors.ts', { cwd: root })
  const thrown = new Set(
    sources.flatMap(
      (file) =>
        readFileSync(join(root, file), 'utf8').match(
          /FAIRLEAD_(?:SERVICE|OCI|KUBE|BUILD|CLUSTER|DELIVERY|CLI|APP|NODE|NETWORK)_[A-Z0-9_]+/g,
        ) ?? [],
    ),
  )

  it('explains every error code of the sources', () => {
    assert.ok(thrown.size > 10)
    assert.deepEqual([...thrown].filter((code) => !documented.includes(code)).toSorted(), [])
  })

  it('explains no code that does not exist, and none twice', () => {
    assert.deepEqual(
      documented.filter((code) => !thrown.has(code)),
      [],
    )
    assert.equal(new Set(documented).size, documented.length)
  })
})
