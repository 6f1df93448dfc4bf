import assert from 'node:assert/strict'
import { describe, it } from 'node:test'

import { globOf } from './glob.ts'
import { createImmutability } from './immutability.ts'
import type { TagMutability, TagMutabilityRule } from './immutability.ts'
import { startTestRegistry } from './registry-fixture.ts'

describe('tag immutability', () => {
  const filters = [
    { filterType: 'WILDCARD' as const, filter: 'dev-*' },
    { filterType: 'WILDCARD' as const, filter: '*rc.*' },
  ]
  const rows: { mode: TagMutability; tag: string; isImmutable: boolean }[] = [
    { mode: 'MUTABLE', tag: '1.0', isImmutable: false },
    { mode: 'IMMUTABLE', tag: '1.0', isImmutable: true },
    { mode: 'IMMUTABLE_WITH_EXCLUSION', tag: '1.0', isImmutable: true },
    { mode: 'IMMUTABLE_WITH_EXCLUSION', tag: 'dev-7', isImmutable: false },
    { mode: 'IMMUTABLE_WITH_EXCLUSION', tag: '1.0-rc.1', isImmutable: false },
    { mode: 'IMMUTABLE_WITH_EXCLUSION', tag: '1.0-rcx', isImmutable: true },
    { mode: 'MUTABLE_WITH_EXCLUSION', tag: '1.0', isImmutable: false },
    { mode: 'MUTABLE_WITH_EXCLUSION', tag: 'dev-7', isImmutable: true },
  ]
  for (const { mode, tag, isImmutable } of rows) {
    it(`${mode}: tag ${tag} ${isImmutable ? 'stands' : 'may move'}`, () => {
      const rule = { repositories: '**', mode, ...(mode.endsWith('EXCLUSION') ? { exclusionFilters: filters } : {}) }
      assert.equal(createImmutability([rule])('app', tag), isImmutable)
    })
  }

  it('takes the first rule that matches', () => {
    const isImmutable = createImmutability([
      { repositories: 'prod/*', mode: 'IMMUTABLE' },
      { repositories: '**', mode: 'MUTABLE' },
    ])
    assert.deepEqual(
      [isImmutable('prod/a', '1'), isImmutable('prod/a/b', '1'), isImmutable('x', '1')],
      [true, false, false],
    )
  })

  const bad: TagMutabilityRule[] = [
    { repositories: '**', mode: 'IMMUTABLE_WITH_EXCLUSION' },
    { repositories: '**', mode: 'IMMUTABLE', exclusionFilters: filters },
    {
      repositories: '**',
      mode: 'MUTABLE_WITH_EXCLUSION',
      exclusionFilters: [{ filterType: 'WILDCARD', filter: '***' }],
    },
    {
      repositories: '**',
      mode: 'MUTABLE_WITH_EXCLUSION',
      exclusionFilters: Array.from({ length: 6 }, () => ({ filterType: 'WILDCARD', filter: 'a' })),
    },
    {
      repositories: '**',
      mode: 'MUTABLE_WITH_EXCLUSION',
      exclusionFilters: [{ filterType: 'WILDCARD', filter: 'a'.repeat(129) }],
    },
    { repositories: '**', mode: 'FROZEN' as TagMutability },
  ]
  for (const [at, rule] of bad.entries()) {
    it(`refuses rules beyond the limits of ECR (${at + 1})`, () => {
      assert.throws(() => createImmutability([rule]), { code: 'FAIRLEAD_OCI_REGISTRY_SETTING' })
    })
  }

  it('answers a push over a tag that stands as ECR does, and leaves everything as it is', async () => {
    await using test = await startTestRegistry({ tagMutability: [{ repositories: 'prod/**', mode: 'IMMUTABLE' }] })
    const { digest, manifest } = await test.pushImage('prod/app', '1', 'layer')
    const other = { ...manifest, annotations: { x: 'y' } }
    const refused = await test.putManifest('prod/app', '1', other)
    const [{ code, message, detail }] = refused.json().errors
    assert.deepEqual([refused.status, code, detail?.['exception']], [400, 'DENIED', 'ImageTagAlreadyExistsException'])
    assert.match(message, /^The image tag '1' already exists in the 'prod\/app' repository and cannot be overwritten/)
    assert.equal((await test.send('GET', '/v2/prod/app/manifests/1')).headers.get('docker-content-digest'), digest)
    assert.equal((await test.putManifest('prod/app', '1', manifest)).status, 201)
    assert.equal((await test.putManifest('prod/app', '2', other)).status, 201)
  })

  it('lets one of many win that push the same tag at once', async () => {
    await using test = await startTestRegistry({ tagMutability: [{ repositories: '**', mode: 'IMMUTABLE' }] })
    const { manifest } = await test.pushImage('app', 'seed', 'layer')
    const pushes = Array.from({ length: 12 }, (_, at) =>
      test.putManifest('app', 'race', { ...manifest, annotations: { at: String(at) } }),
    )
    const statuses = (await Promise.all(pushes)).map(({ status }) => status)
    assert.deepEqual(
      [statuses.filter((status) => status === 201).length, statuses.filter((status) => status === 400).length],
      [1, 11],
    )
  })
})

describe('globOf', () => {
  const rows: [string, string, boolean][] = [
    ['**', 'a/b/c', true],
    ['*', 'a', true],
    ['*', 'a/b', false],
    ['team/*', 'team/web', true],
    ['team/*', 'team/', true],
    ['team/**', 'team/a/b', true],
    ['*/web', 'team/web', true],
    ['a*c/**/z', 'abc/x/y/z', true],
    ['a*c/**/z', 'abd/x/y/z', false],
    ['team/web', 'team/web2', false],
  ]
  for (const [pattern, name, expected] of rows) {
    it(`${pattern} ${expected ? 'matches' : 'does not match'} ${name}`, () =>
      assert.equal(globOf(pattern)(name), expected))
  }

  it('is quick for patterns made to be slow', () => {
    assert.equal(globOf('*a'.repeat(100))('a'.repeat(200) + 'b'), false)
  })
})
