import assert from 'node:assert/strict'
import { describe, it } from 'node:test'

import { parseReference, renderReference } from './reference.ts'

const DIGEST = `sha256:${'a'.repeat(64)}` as const

describe('parseReference', () => {
  const cases = [
    { text: 'nginx', expected: 'docker.io/library/nginx:latest' },
    { text: 'team/app:1.2', expected: 'docker.io/team/app:1.2' },
    { text: 'index.docker.io/team/app', expected: 'docker.io/team/app:latest' },
    { text: 'localhost/shop/web', expected: 'localhost/shop/web:latest' },
    { text: 'localhost:5000/a:b', expected: 'localhost:5000/a:b' },
    { text: '[::1]:5000/a', expected: '[::1]:5000/a:latest' },
    { text: 'registry.example/a/b__c/d-e:V_1', expected: 'registry.example/a/b__c/d-e:V_1' },
    { text: `registry.example/a@${DIGEST}`, expected: `registry.example/a@${DIGEST}` },
    { text: `registry.example/a:1@${DIGEST}`, expected: `registry.example/a:1@${DIGEST}` },
  ]
  for (const { text, expected } of cases) {
    it(`reads ${text}`, () => assert.equal(renderReference(parseReference(text)), expected))
  }

  it('keeps the digest when tag and digest are both given', () => {
    assert.deepEqual(parseReference(`registry.example/a:1@${DIGEST}`), {
      registry: 'registry.example',
      repository: 'a',
      tag: '1',
      digest: DIGEST,
    })
  })

  const wrong = [
    { text: '', state: /repository is empty/ },
    { text: 'app:', state: /tag is empty after ":"/ },
    { text: 'app:a b', state: /tag "a b" has a character/ },
    { text: 'localhost/App', state: /"App" is no part of a repository name/ },
    { text: 'localhost/a//b', state: /"" is no part/ },
    { text: 'localhost/../etc', state: /"\.\." is no part/ },
    { text: 'app@sha256:1234', state: /"sha256:1234" is no digest/ },
    { text: `localhost/${'a'.repeat(256)}`, state: /longer than 255/ },
  ]
  for (const { text, state } of wrong) {
    it(`refuses ${JSON.stringify(text.slice(0, 30))}`, () => {
      assert.throws(() => parseReference(text), { name: 'SyntaxError', code: 'FAIRLEAD_OCI_REFERENCE', message: state })
    })
  }
})
