import assert from 'node:assert/strict'
import { once } from 'node:events'
import { mkdtemp, rm } from 'node:fs/promises'
import { createServer } from 'node:https'
import type { IncomingMessage } from 'node:http'
import type { AddressInfo } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { describe, it } from 'node:test'
import type { TLSSocket } from 'node:tls'

import { loadPki } from '../../pki.ts'
import { createWidgets } from '../custom-resources/test-definitions.ts'
import { startTestServer } from '../test-server.ts'
import type { TestServer } from '../test-server.ts'

// oxlint-disable-next-line typescript/no-explicit-any -- objects as they come over the wire
type Json = any

const services = '/apis/apiregistration.k8s.io/v1/apiservices'
const address = '127.0.0.9'

const documents: Record<string, Json> = {
  '/openapi/v3': {
    paths: {
      version: { serverRelativeURL: '/openapi/v3/version?hash=1' },
      'apis/apps/v1': { serverRelativeURL: '/openapi/v3/apis/apps/v1?hash=1' },
      'apis/wardle.example.com/v1': { serverRelativeURL: '/openapi/v3/apis/wardle.example.com/v1?hash=AB' },
    },
  },
  '/openapi/v3/apis/wardle.example.com/v1?hash=AB': { openapi: '3.0.0', info: { title: 'wardle' } },
  '/openapi/v2': {
    swagger: '2.0',
    paths: {
      '/apis/wardle.example.com/v1/flunders': { get: { responses: { 200: { schema: { $ref: '#/definitions/F' } } } } },
      '/apis/other.example.com/v1/others': { get: {} },
    },
    definitions: { F: { type: 'object', description: 'A flunder.' }, G: { type: 'object' } },
  },
}

/** A server for `flunders` of `wardle.example.com/v1`, behind the service `default/wardle`. */
async function startExtension(): Promise<
  AsyncDisposable & { port: number; caBundle: string; frontProxy: Json; seen: IncomingMessage[]; peers: string[] }
> {
  const dir = await mkdtemp(join(tmpdir(), 'fairlead-aggregation-'))
  const pki = await loadPki(dir, [address, 'wardle.default.svc'])
  const seen: IncomingMessage[] = []
  const peers: string[] = []
  const tls = { key: pki.server.key, cert: pki.server.certificate, ca: pki.frontProxy.ca, requestCert: true }
  const server = createServer(tls, (request, response) => {
    seen.push(request)
    peers.push(String((request.socket as TLSSocket).getPeerCertificate().subject?.CN))
    const resources = [
      { name: 'flunders', singularName: 'flunder', namespaced: true, kind: 'Flunder', verbs: ['get', 'list'] },
      { name: 'flunders/status', singularName: '', namespaced: true, kind: 'Flunder', verbs: ['get'] },
    ]
    const list = { kind: 'APIResourceList', apiVersion: 'v1', groupVersion: 'wardle.example.com/v1', resources }
    const known: Record<string, Json> = { '/apis/wardle.example.com/v1': list, ...documents }
    response.setHeader('content-type', 'application/json')
    response.end(JSON.stringify(known[request.url ?? ''] ?? { kind: 'Flunder', url: request.url }))
  })
  server.listen(0, address)
  await once(server, 'listening')
  return {
    port: (server.address() as AddressInfo).port,
    caBundle: Buffer.from(pki.ca).toString('base64'),
    frontProxy: pki.frontProxy,
    seen,
    peers,
    async [Symbol.asyncDispose]() {
      server.closeAllConnections()
      await new Promise((resolve) => server.close(resolve))
      await rm(dir, { recursive: true, force: true })
    },
  }
}

async function create(api: TestServer, path: string, object: Json): Promise<void> {
  const { status, body } = await api.call('POST', path, object)
  assert.equal(status, 201, body.message)
}

/** Makes the service `default/wardle` and its endpoint. */
async function reach(api: TestServer, port: number): Promise<void> {
  await create(api, '/api/v1/namespaces/default/services', {
    metadata: { name: 'wardle' },
    spec: { ports: [{ port: 443 }] },
  })
  await create(api, '/apis/discovery.k8s.io/v1/namespaces/default/endpointslices', {
    metadata: { name: 'wardle', labels: { 'kubernetes.io/service-name': 'wardle' } },
    addressType: 'IPv4',
    ports: [{ port: port }],
    endpoints: [{ addresses: [address] }],
  })
}

/** Waits until the condition Available of an APIService has a reason. */
async function available(api: TestServer, name: string, reason: string): Promise<Json> {
  let condition: Json
  for (let n = 0; n < 2000 && condition?.reason !== reason; n += 1) {
    const { body } = await api.call('GET', `${services}/${name}`)
    condition = body.status?.conditions?.find(({ type }: Json) => type === 'Available')
    await new Promise((resolve) => setImmediate(resolve))
  }
  assert.equal(condition?.reason, reason, condition?.message)
  return condition
}

const registration = (caBundle: string): Json => ({
  metadata: { name: 'v1.wardle.example.com' },
  spec: {
    group: 'wardle.example.com',
    version: 'v1',
    groupPriorityMinimum: 2000,
    versionPriority: 200,
    caBundle,
    service: { name: 'wardle', namespace: 'default' },
  },
})

describe('ApiServices', () => {
  it('passes requests for a group-version to the service that answers for it', async () => {
    await using extension = await startExtension()
    await using api = await startTestServer({ frontProxy: extension.frontProxy })
    await create(api, services, registration(extension.caBundle))
    assert.equal((await available(api, 'v1.wardle.example.com', 'ServiceNotFound')).status, 'False')
    const path = '/apis/wardle.example.com/v1/namespaces/default/flunders'
    assert.equal((await api.call('GET', path)).status, 503)
    await reach(api, extension.port)
    assert.equal((await available(api, 'v1.wardle.example.com', 'Passed')).status, 'True')
    const { body } = await api.call('GET', `${path}?limit=5`, undefined, {
      authorization: 'Bearer x',
      'x-remote-user': 'liar',
    })
    assert.deepEqual(body, { kind: 'Flunder', url: `${path}?limit=5` })
    const { headers } = extension.seen.at(-1) as IncomingMessage
    assert.deepEqual([headers['x-remote-user'], headers.authorization], ['admin', undefined])
    assert.match(String(headers['x-remote-group']), /system:masters/)
    assert.equal(extension.peers.at(-1), 'front-proxy-client')
    await create(api, '/apis/rbac.authorization.k8s.io/v1/clusterroles', {
      metadata: { name: 'lister' },
      rules: [{ apiGroups: ['wardle.example.com'], resources: ['flunders'], verbs: ['list'] }],
    })
    await create(api, '/apis/rbac.authorization.k8s.io/v1/clusterrolebindings', {
      metadata: { name: 'lister' },
      roleRef: { apiGroup: 'rbac.authorization.k8s.io', kind: 'ClusterRole', name: 'lister' },
      subjects: [{ apiGroup: 'rbac.authorization.k8s.io', kind: 'User', name: 'lister' }],
    })
    const lister = { 'impersonate-user': 'lister' }
    assert.equal((await api.call('GET', path, undefined, lister)).status, 200)
    assert.equal((await api.call('GET', `${path}?watch=1`, undefined, lister)).status, 403, 'a watch is no list')
    const told = (await api.call('GET', '/api/v1/namespaces/kube-system/configmaps/extension-apiserver-authentication'))
      .body
    assert.equal(told.data['requestheader-client-ca-file'], extension.frontProxy.ca)
  })

  it('shows what servers behind it serve in discovery', async () => {
    await using extension = await startExtension()
    await using api = await startTestServer({ frontProxy: extension.frontProxy })
    await reach(api, extension.port)
    await create(api, services, registration(extension.caBundle))
    await available(api, 'v1.wardle.example.com', 'Passed')
    const accept = 'application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList'
    const { items } = (await api.call('GET', '/apis', undefined, { accept })).body
    const names = items.map(({ metadata }: Json) => metadata.name)
    assert.equal(names.at(-1), 'wardle.example.com')
    const [{ resources, freshness }] = items.at(-1).versions
    assert.equal(freshness, 'Current')
    assert.deepEqual(resources, [
      {
        resource: 'flunders',
        responseKind: { group: 'wardle.example.com', version: 'v1', kind: 'Flunder' },
        scope: 'Namespaced',
        singularResource: 'flunder',
        verbs: ['get', 'list'],
        subresources: [
          {
            subresource: 'status',
            responseKind: { group: 'wardle.example.com', version: 'v1', kind: 'Flunder' },
            verbs: ['get'],
          },
        ],
      },
    ])
    const { groups } = (await api.call('GET', '/apis')).body
    assert.ok(groups.some(({ name }: Json) => name === 'wardle.example.com'))
    assert.equal((await api.call('GET', '/apis/wardle.example.com')).body.preferredVersion.version, 'v1')
    assert.equal((await api.call('GET', '/apis/wardle.example.com/v1')).body.resources.length, 2)
    await api.call('DELETE', `${services}/v1.wardle.example.com`)
    assert.equal((await api.call('GET', '/apis/wardle.example.com')).status, 404)
  })

  it('has the OpenAPI documents of servers behind it among its own, until they are gone', async () => {
    await using extension = await startExtension()
    await using api = await startTestServer({ frontProxy: extension.frontProxy })
    await reach(api, extension.port)
    await create(api, services, registration(extension.caBundle))
    const own = (await api.call('GET', '/openapi/v3')).body.paths
    const path = 'apis/wardle.example.com/v1'
    let { paths } = (await api.call('GET', '/openapi/v3')).body
    while (paths[path] === undefined) {
      await new Promise((resolve) => setImmediate(resolve))
      ;({ paths } = (await api.call('GET', '/openapi/v3')).body)
    }
    // Of what is not its group a server has nothing to say.
    assert.deepEqual(paths, { ...own, [path]: documents['/openapi/v3'].paths[path] })
    const { body: document } = await api.call('GET', paths[path].serverRelativeURL)
    assert.deepEqual(document, { openapi: '3.0.0', info: { title: 'wardle' } })
    assert.equal(extension.seen.at(-1)?.headers['x-remote-user'], 'admin')
    const merged = (await api.call('GET', '/openapi/v2')).body
    assert.deepEqual(merged.definitions.F, { type: 'object', description: 'A flunder.' })
    assert.equal(merged.definitions.G, undefined)
    assert.ok(merged.paths['/apis/wardle.example.com/v1/flunders'])
    assert.equal(merged.paths['/apis/other.example.com/v1/others'], undefined)
    assert.ok(merged.paths['/api/v1/pods'])
    await api.call('DELETE', `${services}/v1.wardle.example.com`)
    assert.deepEqual((await api.call('GET', '/openapi/v3')).body.paths, own)
    assert.equal((await api.call('GET', `/openapi/v3/${path}`)).status, 404)
    assert.equal((await api.call('GET', '/openapi/v2')).body.definitions.F, undefined)
  })

  it('has an APIService for each version this server answers for, and for those of definitions while they are there', async () => {
    await using api = await startTestServer()
    const apps = (await api.call('GET', `${services}/v1.apps`)).body
    assert.deepEqual([apps.spec.group, apps.spec.groupPriorityMinimum, apps.spec.service], ['apps', 17800, undefined])
    assert.equal(apps.metadata.labels['kube-aggregator.kubernetes.io/automanaged'], 'onstart')
    assert.equal((await available(api, 'v1.', 'Local')).message, 'Local APIServices are always available')
    await createWidgets(api)
    await available(api, 'v1.example.com', 'Local')
    await api.call('DELETE', '/apis/apiextensions.k8s.io/v1/customresourcedefinitions/widgets.example.com')
    let { status } = await api.call('GET', `${services}/v1.example.com`)
    for (let n = 0; n < 500 && status !== 404; n += 1) {
      await new Promise((resolve) => setImmediate(resolve))
      ;({ status } = await api.call('GET', `${services}/v1.example.com`))
    }
    assert.equal(status, 404)
  })

  it('is not asked for what cannot be', async () => {
    await using api = await startTestServer()
    const wrong = registration('')
    wrong.metadata.name = 'other'
    wrong.spec.groupPriorityMinimum = 0
    const { status, body } = await api.call('POST', services, wrong)
    assert.equal(status, 422)
    assert.match(
      body.message,
      /metadata\.name: Invalid value: "other": must be `spec\.version\+"\."\+spec\.group`: "v1\.wardle\.example\.com"/,
    )
    assert.match(body.message, /groupPriorityMinimum: Invalid value: 0: must be positive and less than 20000/)
  })
})
