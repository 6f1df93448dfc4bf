import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { setImmediate as nextTurn } from 'node:timers/promises'

import { createKubeClient } from '@fairlead/kube'

import { startTestServer } from '../apiserver/test-server.ts'
import { runControllers } from './run-controllers.ts'

describe('runControllers', () => {
  it('starts its controllers one after the other, so that others are served meanwhile', async () => {
    await using api = await startTestServer()
    const read = new Set<string>()
    const client = createKubeClient({
      transport: {
        send(request) {
          read.add(request.path.split('?', 1)[0] ?? '')
          return api.transport.send(request)
        },
      },
    })
    const stop = new AbortController()
    const running = runControllers({ client, caCertificate: 'PEM', signal: stop.signal })
    const counts = [read.size]
    while (!read.has('/apis/autoscaling/v2/horizontalpodautoscalers')) {
      await nextTurn()
      counts.push(read.size)
    }
    const steps = counts.filter((count, index) => count > (counts[index - 1] ?? 0))
    assert.ok(steps.length > 10, counts.join(' '))
    stop.abort()
    await running
  })

  it('ends when it is told so while it starts', async () => {
    await using api = await startTestServer()
    const stop = new AbortController()
    const running = runControllers({ client: api.client, caCertificate: 'PEM', signal: stop.signal })
    await nextTurn()
    stop.abort()
    await running
  })
})
