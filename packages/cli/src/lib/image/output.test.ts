import assert from 'node:assert/strict'
import { describe, it } from 'node:test'

import { parseOutputs } from './output.ts'

describe('parseOutputs', () => {
  it('reads places and the registry, of --push too', () => {
    assert.deepEqual(parseOutputs(['oci:out', 'archive:/tmp/a.tar', 'sea:./web'], 'ghcr.io/acme'), [
      { kind: 'oci', path: 'out' },
      { kind: 'archive', path: '/tmp/a.tar' },
      { kind: 'sea', path: './web' },
      { kind: 'registry', to: 'ghcr.io/acme' },
    ])
    assert.deepEqual(parseOutputs(['registry:ghcr.io/acme'], undefined), [{ kind: 'registry', to: 'ghcr.io/acme' }])
    assert.deepEqual(parseOutputs(['registry'], 'ghcr.io/acme'), [{ kind: 'registry', to: 'ghcr.io/acme' }])
    assert.deepEqual(parseOutputs(undefined, undefined), [])
  })

  const refused = [
    { name: 'a word it does not know', texts: ['zip:x'], code: 'FAIRLEAD_CLI_USAGE' },
    { name: 'a form without its place', texts: ['oci:'], code: 'FAIRLEAD_CLI_USAGE' },
    { name: 'a registry without a name', texts: ['registry'], code: 'FAIRLEAD_CLI_USAGE' },
    { name: 'two of one kind', texts: ['oci:a', 'oci:b'], code: 'FAIRLEAD_CLI_USAGE' },
    { name: 'a registry that is no reference', texts: ['registry:HTTP://x y'], code: 'FAIRLEAD_OCI_REFERENCE' },
  ]
  for (const { name, texts, code } of refused)
    it(`refuses ${name}`, () => assert.throws(() => parseOutputs(texts, undefined), { code }))
})
