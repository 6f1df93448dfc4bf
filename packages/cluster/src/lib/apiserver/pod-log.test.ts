import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { createWebSocketKey, WebSocket } from '@fairlead/kube/streaming'

import type { Kubelet } from './kubelet.ts'
import { podNamed, startTestServer } from './test-server.ts'

const pods = '/api/v1/namespaces/default/pods'
const pod = podNamed('x')

async function* endless(signal: AbortSignal): AsyncGenerator<Uint8Array> {
  yield Buffer.from('line\n')
  await new Promise<void>((resolve) => signal.addEventListener('abort', () => resolve()))
}

describe('a log over a WebSocket', () => {
  for (const { protocol, isText, text } of [
    { protocol: 'binary.k8s.io', isText: false, text: 'line\n' },
    { protocol: 'base64.binary.k8s.io', isText: true, text: 'bGluZQo=' },
  ]) {
    it(`comes as ${protocol}, and ends when its listener leaves`, { timeout: 300_000 }, async () => {
      const { promise: left, resolve: leave } = Promise.withResolvers<void>()
      const kubelet: Kubelet = {
        fetch({ signal }) {
          signal.addEventListener('abort', () => leave())
          return Promise.resolve({ status: 200, headers: {}, body: endless(signal) })
        },
        openContainer: () => Promise.reject(new Error('nothing runs')),
        openPod: () => Promise.reject(new Error('nothing runs')),
      }
      await using api = await startTestServer({ kubelet: () => Promise.resolve(kubelet) })
      await api.call('POST', pods, { ...pod, spec: { containers: [{ name: 'main', image: 'app:1' }], nodeName: 'n1' } })
      const headers = {
        connection: 'Upgrade',
        upgrade: 'websocket',
        'sec-websocket-version': '13',
        'sec-websocket-key': createWebSocketKey(),
        'sec-websocket-protocol': protocol,
      }
      const path = `${pods}/x/log?follow=true`
      const answer = await api.transport.send({ method: 'GET', path, headers, upgrade: true })
      assert.deepEqual([answer.status, answer.headers['sec-websocket-protocol']], [101, protocol])
      assert.ok(answer.connection)
      const { promise: first, resolve } = Promise.withResolvers<[string, boolean]>()
      const webSocket = new WebSocket(answer.connection, {
        role: 'client',
        onMessage: (data, isTextual) => resolve([data.toString('utf8'), isTextual]),
      })
      assert.deepEqual(await first, [text, isText])
      webSocket.close()
      await left
    })
  }
})
