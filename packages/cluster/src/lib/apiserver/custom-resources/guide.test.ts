// What docs/guides/custom-resources.md says, done with the manifests and programs that stand there.
import assert from 'node:assert/strict'
import { once } from 'node:events'
import { mkdtempSync, readFileSync, realpathSync, rmSync, symlinkSync, writeFileSync } from 'node:fs'
import type { Server } from 'node:https'
import type { AddressInfo } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, describe, it } from 'node:test'
import { pathToFileURL } from 'node:url'

import type { KubeClient } from '@fairlead/kube'
import { parseYaml } from '@fairlead/kube/codec'

import { loadPki } from '../../pki.ts'
import { startTestServer } from '../test-server.ts'
import type { TestServer } from '../test-server.ts'

const root = join(import.meta.dirname, '../../../../../..')
const guide = readFileSync(join(root, 'docs/guides/custom-resources.md'), 'utf8')
const definitions = '/apis/apiextensions.k8s.io/v1/customresourcedefinitions'
const websites = '/apis/example.com/v1/namespaces/default/websites'
const patienceMs = 30_000

// oxlint-disable-next-line typescript/no-explicit-any -- manifests as people write them
type Any = any

/** The blocks of the guide in a language, in the order in which they stand there. */
function blocks(language: string): string[] {
  return [...guide.matchAll(/^```(\S+)[^\n]*\n([\s\S]*?)^```$/gm)].flatMap(([, name, code = '']) =>
    name === language ? [code] : [],
  )
}

function manifests(): { definition: Any; shop: Any; conversion: Any } {
  const [definition, shop, conversion] = blocks('yaml').map((text) => parseYaml(text) as Any)
  return { definition, shop, conversion: conversion?.conversion }
}

async function startWith(definition: object): Promise<TestServer> {
  const api = await startTestServer()
  const { status, body } = await api.call('POST', definitions, definition)
  assert.equal(status, 201, body.message)
  await eventually(async () => (await api.call('GET', websites)).status === 200)
  return api
}

async function eventually(isTrue: () => Promise<boolean>): Promise<void> {
  const end = Date.now() + patienceMs
  while (!(await isTrue())) {
    assert.ok(Date.now() < end, 'did not come')
    await new Promise((resolve) => setImmediate(resolve))
  }
}

describe('the guide of custom resources', () => {
  const scratch = realpathSync(mkdtempSync(join(tmpdir(), 'fairlead-guide-')))
  after(() => rmSync(scratch, { recursive: true }))
  symlinkSync(join(root, 'node_modules'), join(scratch, 'node_modules'))
  writeFileSync(join(scratch, 'package.json'), '{ "type": "module" }')

  async function load(index: number): Promise<Any> {
    const file = join(scratch, `block-${index}.ts`)
    writeFileSync(file, blocks('ts')[index] ?? '')
    return await import(pathToFileURL(file).href)
  }

  it('has a definition that defaults, refuses and shows as it says', async () => {
    const { definition, shop } = manifests()
    await using api = await startWith(definition)
    const { body: created } = await api.call('POST', websites, shop)
    assert.deepEqual(created.spec, { ...shop.spec, replicas: 1, maxReplicas: 10 })

    const wrong = [
      { spec: { replicas: 11 }, field: 'spec.replicas', message: /not more replicas than maxReplicas/ },
      { spec: { host: 'other.example.com' }, field: 'spec.host', message: /a website keeps its host/ },
      { spec: { image: '' }, field: 'spec.image', message: /at least 1/ },
    ]
    for (const { spec, field, message } of wrong) {
      const { status, body } = await api.call('PATCH', `${websites}/shop`, { spec })
      assert.equal(status, 422, field)
      assert.equal(body.details.causes[0].field, field)
      assert.match(body.message, message)
    }

    const scale = await api.call('PATCH', `${websites}/shop/scale`, { spec: { replicas: 3 } })
    assert.equal(scale.body.spec.replicas, 3)
    const accept = { accept: 'application/json;as=Table;v=v1;g=meta.k8s.io' }
    const table = await api.call('GET', `${websites}?fieldSelector=spec.host%3Dshop.example.com`, undefined, accept)
    assert.deepEqual(
      table.body.columnDefinitions.map(({ name }: Any) => name),
      ['Name', 'Host', 'Replicas', 'Age'],
    )
    assert.equal(table.body.rows[0].cells[1], 'shop.example.com')
  })

  it('has a controller that makes the Deployment and tells the status', async () => {
    const { definition, shop } = manifests()
    await using api = await startWith(definition)
    await api.call('POST', websites, shop)
    const { runWebsites }: { runWebsites: (client: KubeClient, signal: AbortSignal) => Promise<void> } = await load(0)
    const stop = new AbortController()
    const running = runWebsites(api.client, stop.signal)
    try {
      const deployment = '/apis/apps/v1/namespaces/default/deployments/shop'
      const replicas = async (): Promise<unknown> => (await api.call('GET', deployment)).body.spec?.replicas
      await eventually(async () => (await replicas()) === 1)
      await api.call('PATCH', `${websites}/shop/scale`, { spec: { replicas: 3 } })
      await eventually(async () => (await replicas()) === 3)
      await eventually(async () => (await api.call('GET', `${websites}/shop/scale`)).body.status?.replicas === 3)
      const { metadata, spec } = (await api.call('GET', deployment)).body
      assert.equal(metadata.ownerReferences[0].name, 'shop')
      assert.equal(spec.template.spec.containers[0].image, shop.spec.image)
    } finally {
      stop.abort()
      await running
    }
  })

  it('has a webhook that shows each version and loses nothing', async () => {
    const { definition, shop, conversion } = manifests()
    const pki = await loadPki(scratch)
    const { createWebhook }: { createWebhook: (key: string, cert: string) => Server } = await load(1)
    await using webhook = createWebhook(pki.server.key, pki.server.certificate)
    webhook.listen(0, '127.0.0.1')
    await once(webhook, 'listening')
    const url = `https://127.0.0.1:${(webhook.address() as AddressInfo).port}/convert`
    const clientConfig = { url, caBundle: Buffer.from(pki.ca).toString('base64') }
    definition.spec.conversion = { ...conversion, webhook: { ...conversion.webhook, clientConfig } }
    const [first] = definition.spec.versions
    const second = structuredClone({ ...first, name: 'v2', storage: false })
    const { properties } = second.schema.openAPIV3Schema.properties.spec
    delete properties.host
    second.schema.openAPIV3Schema.properties.spec.required = ['image', 'hosts']
    delete second.selectableFields
    second.additionalPrinterColumns = []
    definition.spec.versions.push(second)
    await using api = await startWith(definition)
    await api.call('POST', websites, shop)
    const newer = websites.replace('/v1/', '/v2/')
    const read = await api.call('GET', `${newer}/shop`)
    assert.deepEqual(read.body.spec.hosts, ['shop.example.com'])
    assert.equal(read.body.spec.host, undefined)
    const hosts = ['shop.example.com', 'www.example.com']
    assert.equal((await api.call('PATCH', `${newer}/shop`, { spec: { hosts } })).status, 200)
    const { body: older } = await api.call('GET', `${websites}/shop`)
    assert.deepEqual([older.spec.host, older.spec.hosts], ['shop.example.com', ['www.example.com']])
    assert.deepEqual((await api.call('GET', `${newer}/shop`)).body.spec.hosts, hosts)
  })
})
