import assert from 'node:assert/strict'
import { describe, it } from 'node:test'

import { InFlight } from './in-flight.ts'

type Asked = Parameters<InFlight['enter']>[0]

function asked(method: string, target: string, groups: readonly string[] = ['system:authenticated']): Asked {
  const [path = '', query] = target.split('?')
  return { method, path, query: new URLSearchParams(query), identity: { user: 'joe', groups } }
}

const pods = '/api/v1/namespaces/default/pods'

describe('InFlight', () => {
  it('counts reads and writes apart and has no more seats than its limits', () => {
    const inFlight = new InFlight({ reading: 2, mutating: 1 })
    assert.equal(inFlight.enter(asked('GET', pods)), 'reading')
    assert.equal(inFlight.enter(asked('HEAD', pods)), 'reading')
    assert.equal(inFlight.enter(asked('GET', pods)), undefined)
    assert.equal(inFlight.enter(asked('POST', pods)), 'mutating')
    for (const method of ['POST', 'PUT', 'PATCH', 'DELETE'])
      assert.equal(inFlight.enter(asked(method, pods)), undefined)
    inFlight.leave('mutating')
    assert.equal(inFlight.enter(asked('DELETE', pods)), 'mutating')
    inFlight.leave('exempt')
    assert.equal(inFlight.enter(asked('GET', pods)), undefined)
  })

  it('always has one for administrators', () => {
    const inFlight = new InFlight({ reading: 0, mutating: 0 })
    assert.equal(inFlight.enter(asked('GET', pods, ['system:masters'])), 'exempt')
    assert.equal(inFlight.enter(asked('POST', pods, ['system:masters'])), 'exempt')
  })

  const full = new InFlight({ reading: 0, mutating: 0 })
  for (const { target, isCounted } of [
    { target: `${pods}?watch=true`, isCounted: false },
    { target: `${pods}?watch=1`, isCounted: false },
    { target: `${pods}?watch`, isCounted: false },
    { target: `${pods}?watch=false`, isCounted: true },
    { target: '/api/v1/watch/pods', isCounted: false },
    { target: '/apis/apps/v1/watch/deployments', isCounted: false },
    { target: `${pods}/a/log?follow=true`, isCounted: false },
    { target: `${pods}/a/exec`, isCounted: false },
    { target: `${pods}/a/proxy/some/path`, isCounted: false },
    { target: '/api/v1/namespaces/default/services/web/proxy', isCounted: false },
    { target: '/api/v1/nodes/n/proxy/metrics', isCounted: false },
    { target: `${pods}/log`, isCounted: true },
    { target: `${pods}/a/logs`, isCounted: true },
    { target: '/readyz', isCounted: true },
  ]) {
    it(`${isCounted ? 'counts' : 'does not count'} ${target}`, () => {
      assert.equal(full.enter(asked('GET', target)), isCounted ? undefined : 'exempt')
    })
  }
})
