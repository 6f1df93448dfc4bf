import assert from 'node:assert/strict'
import { once } from 'node:events'
import { createServer } from 'node:https'
import { mkdtemp, rm } from 'node:fs/promises'
import type { AddressInfo } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { describe, it } from 'node:test'

import { loadPki } from '../../pki.ts'
import { readWatch, startTestServer } from '../test-server.ts'
import { createWidgets, widgetDefinition, widgetSchema, widgets } from './test-definitions.ts'

const second = widgets.replace('/v1/', '/v2/')

// oxlint-disable-next-line typescript/no-explicit-any -- a review as it comes over the wire
type Review = any

/** A webhook that moves `spec.size` to `spec.amount` and back; `change` spoils its answers. */
async function startWebhook(
  change: (review: Review) => void = () => undefined,
): Promise<AsyncDisposable & { url: string; caBundle: string; calls: () => number }> {
  const dir = await mkdtemp(join(tmpdir(), 'fairlead-conversion-'))
  const pki = await loadPki(dir)
  let calls = 0
  const server = createServer({ key: pki.server.key, cert: pki.server.certificate }, async (request, response) => {
    calls += 1
    let text = ''
    for await (const chunk of request) text += String(chunk)
    const { request: asked, apiVersion, kind } = JSON.parse(text)
    const convertedObjects = asked.objects.map((object: Review) => {
      const { size, amount, ...rest } = object.spec
      const isSecond = asked.desiredAPIVersion === 'example.com/v2'
      const value = size ?? amount
      return {
        ...object,
        apiVersion: asked.desiredAPIVersion,
        spec: { ...rest, ...(isSecond ? { amount: value } : { size: value }) },
      }
    })
    const review = { kind, apiVersion, response: { uid: asked.uid, result: { status: 'Success' }, convertedObjects } }
    change(review)
    response.end(JSON.stringify(review))
  })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  return {
    url: `https://127.0.0.1:${(server.address() as AddressInfo).port}/convert`,
    caBundle: Buffer.from(pki.ca).toString('base64'),
    calls: () => calls,
    async [Symbol.asyncDispose]() {
      server.closeAllConnections()
      await new Promise((resolve) => server.close(resolve))
      await rm(dir, { recursive: true, force: true })
    },
  }
}

function twoVersions(url: string, caBundle: string): ReturnType<typeof widgetDefinition> {
  const definition = widgetDefinition()
  const schema = widgetSchema()
  const { spec } = schema.openAPIV3Schema.properties
  spec.required = ['amount']
  spec.properties.amount = spec.properties.size
  delete spec.properties.size
  const [first] = definition.spec.versions
  definition.spec.versions.push({ name: 'v2', served: true, storage: false, schema, subresources: { status: {} } })
  definition.spec.conversion = {
    strategy: 'Webhook',
    webhook: { conversionReviewVersions: ['v1'], clientConfig: { url, caBundle } },
  }
  assert.equal(first.storage, true)
  return definition
}

describe('a definition with a conversion webhook', () => {
  it('has its objects selected by the fields of the version that is asked', async () => {
    await using webhook = await startWebhook()
    await using api = await startTestServer()
    const definition = twoVersions(webhook.url, webhook.caBundle)
    definition.spec.versions[1].selectableFields = [{ jsonPath: '.spec.amount' }]
    await createWidgets(api, definition)
    for (const [name, size] of Object.entries({ a: 1, b: 2 })) {
      await api.call('POST', widgets, { metadata: { name }, spec: { size } })
    }
    const { status, body } = await api.call('GET', `${second}?fieldSelector=spec.amount%3D2`)
    assert.equal(status, 200)
    assert.deepEqual(
      body.items.map((item: Review) => item.metadata.name),
      ['b'],
    )
    const [event] = await readWatch(api.transport, `${second}?watch=1&fieldSelector=spec.amount%3D1`, () => true)
    assert.equal(event?.object.metadata.name, 'a')
    assert.equal((await api.call('GET', `${widgets}?fieldSelector=spec.amount%3D2`)).status, 400)
    const colour = { metadata: { name: 'c' }, spec: { amount: 3, colour: 'green' } }
    assert.equal((await api.call('POST', second, colour)).status, 201)
    const green = await api.call('GET', `${widgets}?fieldSelector=spec.colour%3Dgreen`)
    assert.equal(green.body.items.length, 1, 'written in another version')
  })

  it('serves its objects in every version, read and written, listed and watched', async () => {
    await using webhook = await startWebhook()
    await using api = await startTestServer()
    await createWidgets(api, twoVersions(webhook.url, webhook.caBundle))
    await api.call('POST', widgets, { metadata: { name: 'a' }, spec: { size: 1 } })
    const created = await api.call('POST', second, { metadata: { name: 'b' }, spec: { amount: 2 } })
    assert.equal(created.status, 201, created.body.message)
    assert.deepEqual(created.body.spec, { amount: 2, colour: 'red' })
    assert.deepEqual(JSON.parse(api.store.get('example.com/widgets', 'default/b')?.bytes.toString() ?? '').spec, {
      size: 2,
      colour: 'red',
    })
    assert.deepEqual((await api.call('GET', `${second}/a`)).body.spec, { colour: 'red', amount: 1 })
    const patched = await api.call('PATCH', `${second}/a`, { spec: { amount: 5 } })
    assert.deepEqual([patched.body.apiVersion, patched.body.spec.amount], ['example.com/v2', 5])
    assert.equal((await api.call('GET', `${widgets}/a`)).body.spec.size, 5)
    const read = (await api.call('GET', `${second}/b`)).body
    assert.equal(read.metadata.resourceVersion, (await api.call('GET', `${widgets}/b`)).body.metadata.resourceVersion)
    assert.equal((await api.call('PUT', `${second}/b`, read)).status, 200)
    const list = await api.call('GET', second)
    assert.deepEqual(
      list.body.items.map((item: { spec: { amount: number } }) => item.spec.amount),
      [5, 2],
    )
    const events = await readWatch(api.transport, `${second}?watch=1`, (seen) => seen.length === 2)
    assert.deepEqual(
      events.map(({ object }) => object.spec.amount),
      [5, 2],
    )
    const status = await api.call('PATCH', `${second}/a/status`, { status: { ready: true } })
    assert.deepEqual(status.body.status, { ready: true })
    assert.equal((await api.call('DELETE', `${second}/b`)).status, 200)
  })

  const spoilt: readonly (readonly [string, (review: Review) => void, RegExp])[] = [
    [
      'says no',
      (review) => (review.response.result = { status: 'Failure', message: 'cannot do that' }),
      /conversion webhook for example\.com\/v1, Kind=Widget failed: cannot do that/,
    ],
    ['answers somebody else', (review) => (review.response.uid = 'x'), /expected response\.uid="[0-9a-f-]+", got "x"/],
    ['loses objects', (review) => (review.response.convertedObjects = []), /returned 0 objects, expected 1/],
    [
      'answers in the wrong version',
      (review) => (review.response.convertedObjects[0].apiVersion = 'example.com/v9'),
      /invalid groupVersion \(expected example\.com\/v2, received example\.com\/v9\)/,
    ],
    [
      'renames objects',
      (review) => (review.response.convertedObjects[0].metadata.name = 'z'),
      /invalid metadata: name must not be changed/,
    ],
  ]
  for (const [title, change, message] of spoilt) {
    it(`tells when it ${title}`, async () => {
      await using webhook = await startWebhook(change)
      await using api = await startTestServer()
      await createWidgets(api, twoVersions(webhook.url, webhook.caBundle))
      await api.call('POST', widgets, { metadata: { name: 'a' }, spec: { size: 1 } })
      const { status, body } = await api.call('GET', `${second}/a`)
      assert.equal(status, 500)
      assert.match(body.message, message)
      assert.equal((await api.call('GET', `${widgets}/a`)).status, 200)
    })
  }

  it('does not believe a webhook that another authority vouches for', async () => {
    await using webhook = await startWebhook()
    await using other = await startWebhook()
    await using api = await startTestServer()
    await createWidgets(api, twoVersions(webhook.url, other.caBundle))
    await api.call('POST', widgets, { metadata: { name: 'a' }, spec: { size: 1 } })
    const { status, body } = await api.call('GET', `${second}/a`)
    assert.equal(status, 500)
    assert.match(body.message, /conversion webhook for example\.com\/v1, Kind=Widget failed: /)
    assert.equal(webhook.calls(), 0)
  })
})
