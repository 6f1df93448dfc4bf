import assert from 'node:assert/strict'
import { describe, it } from 'node:test'

import { podNamed, startTestServer } from './test-server.ts'

const pods = '/api/v1/namespaces/default/pods'

describe('a pod', () => {
  it('keeps the tolerations every pod has when its own are replaced', async () => {
    await using api = await startTestServer()
    await api.call('POST', pods, podNamed('x'))
    const own = { key: 'gpu', operator: 'Exists' }
    const type = { 'content-type': 'application/merge-patch+json' }
    const { status, body } = await api.call('PATCH', `${pods}/x`, { spec: { tolerations: [own] } }, type)
    assert.equal(status, 200)
    assert.deepEqual(
      body.spec.tolerations.map(({ key }: { key: string }) => key),
      ['gpu', 'node.kubernetes.io/not-ready', 'node.kubernetes.io/unreachable'],
    )
  })

  it('is of no account where nobody makes accounts, so that what was created can be replaced by itself', async () => {
    await using api = await startTestServer()
    const { body } = await api.call('POST', pods, podNamed('x'))
    assert.equal(body.spec.serviceAccountName, undefined)
    const { status } = await api.call('PUT', `${pods}/x`, podNamed('x'))
    assert.equal(status, 200)
  })

  it('is bound once', async () => {
    await using api = await startTestServer()
    await api.call('POST', pods, podNamed('x'))
    const binding = { apiVersion: 'v1', kind: 'Binding', metadata: { name: 'x' }, target: { kind: 'Node', name: 'n1' } }
    await api.call('POST', `${pods}/x/binding`, binding)
    const { body } = await api.call('GET', `${pods}/x`)
    assert.equal(body.spec.nodeName, 'n1')
    assert.equal(body.metadata.generation, 1)
    assert.ok(body.status.conditions.some((item: { type: string }) => item.type === 'PodScheduled'))
    const again = await api.call('POST', `${pods}/x/binding`, binding)
    assert.match(again.body.message, /pod x is already assigned to node "n1"/)
  })

  it('is not bound by a decision about an earlier pod of its name', async () => {
    await using api = await startTestServer()
    const { body: earlier } = await api.call('POST', pods, podNamed('x'))
    await api.call('DELETE', `${pods}/x`)
    await api.call('POST', pods, podNamed('x'))
    const metadata = { name: 'x', uid: earlier.metadata.uid }
    const binding = { apiVersion: 'v1', kind: 'Binding', metadata, target: { kind: 'Node', name: 'n1' } }
    const { status, body } = await api.call('POST', `${pods}/x/binding`, binding)
    assert.deepEqual([status, body.reason], [409, 'Conflict'])
  })

  it('is evicted only when its disruption budget allows', async () => {
    await using api = await startTestServer()
    await api.call('POST', pods, podNamed('x'))
    await api.call('PATCH', `${pods}/x/status`, { status: { phase: 'Running' } })
    const budgets = '/apis/policy/v1/namespaces/default/poddisruptionbudgets'
    const selector = { matchLabels: { app: 'x' } }
    await api.call('POST', budgets, {
      apiVersion: 'policy/v1',
      kind: 'PodDisruptionBudget',
      metadata: { name: 'b' },
      spec: { minAvailable: 1, selector },
    })
    const eviction = { apiVersion: 'policy/v1', kind: 'Eviction', metadata: { name: 'x' } }
    const refused = await api.call('POST', `${pods}/x/eviction`, eviction)
    assert.deepEqual([refused.status, refused.body.reason], [429, 'TooManyRequests'])
    const counted = { currentHealthy: 1, desiredHealthy: 0, expectedPods: 1 }
    // Nothing is allowed by a count of before the budget was last changed.
    const status = { ...counted, disruptionsAllowed: 1, observedGeneration: 1 }
    await api.call('PATCH', `${budgets}/b/status`, { status })
    assert.equal((await api.call('POST', `${pods}/x/eviction`, eviction)).status, 201)
    assert.equal((await api.call('GET', `${pods}/x`)).status, 404)
  })

  it('has its log streamed from the agent of its node, and the agent told when the client leaves', async () => {
    const asked: string[] = []
    const { promise: left, resolve: leave } = Promise.withResolvers<void>()
    await using api = await startTestServer({
      kubelet: (nodeName) =>
        Promise.resolve({
          fetch({ path, signal }) {
            asked.push(`${nodeName} ${path}`)
            signal.addEventListener('abort', () => leave())
            return Promise.resolve({ status: 200, headers: {}, body: endless(signal) })
          },
          openContainer: () => Promise.reject(new Error('nothing runs')),
          openPod: () => Promise.reject(new Error('nothing runs')),
        }),
    })
    await api.call('POST', pods, podNamed('x'))
    await api.call('POST', `${pods}/x/binding`, {
      apiVersion: 'v1',
      kind: 'Binding',
      metadata: { name: 'x' },
      target: { name: 'n1' },
    })
    const { body } = await api.transport.send({ method: 'GET', path: `${pods}/x/log?follow=true&tailLines=5` })
    for await (const chunk of body) {
      assert.equal(Buffer.from(chunk).toString(), 'line\n')
      break
    }
    await left
    assert.deepEqual(asked, ['n1 /containerLogs/default/x/main?follow=true&tailLines=5'])
    const unknown = await api.call('GET', `${pods}/x/log?container=side`)
    assert.equal(unknown.body.message, 'container side is not valid for pod x')
  })
})

async function* endless(signal: AbortSignal): AsyncGenerator<Uint8Array> {
  while (!signal.aborted) {
    yield Buffer.from('line\n')
    await new Promise((resolve) => setTimeout(resolve, 5))
  }
}
