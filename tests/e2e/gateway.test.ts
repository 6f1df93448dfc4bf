// The embedded gateway with real pods, told what to do by kubectl and asked by clients outside and inside of the cluster.
import assert from 'node:assert/strict'
import { generateKeyPairSync } from 'node:crypto'
import { readFileSync, writeFileSync } from 'node:fs'
import { Agent, request } from 'node:http'
import { request as secureRequest } from 'node:https'
import { join } from 'node:path'
import { after, before, describe, it } from 'node:test'
import { createKubectl, eventually, freePort, Home, missing, repository, run, type Kubectl } from './support/machine.ts'
import { startLoad } from './support/load.ts'
import { buildProgram } from './support/program-image.ts'

const skip = missing(['runc', 'conmon', 'nft', 'ip', 'kubectl', 'openssl'], { root: true })
const patienceMs = 60_000

describe('the gateway', { skip }, () => {
  let home: Home
  let kubectl: Kubectl
  const images: Record<string, string> = {}

  before(async () => {
    home = new Home()
    for (const version of ['v1', 'v2'])
      images[version] = await buildProgram(home, { name: `go-app-${version}`, source: program(version) })
    await home.fairleadOk(['cluster', 'start'])
    kubectl = createKubectl(await home.kubeconfig(), home.dir)
    await kubectl('apply -f -', manifest('gateway/apps'))
    await kubectl('rollout status deployment/go-app-v1 --timeout=180s')
    await kubectl('rollout status deployment/go-app-v2 --timeout=180s')
  })

  after(async () => {
    await home[Symbol.asyncDispose]()
  })

  it('splits the calls of a Service 90 to 10 by the canary of the chapter', async () => {
    const host = await kubectl('get service go-app -o jsonpath={.spec.clusterIP}')
    assert.match(await (await fetch(`http://${host}/`)).text(), /^v[12]$/)
    await kubectl('apply -f -', manifest('chapters/canary'))
    await eventually(
      'calls that pass the gateway',
      async () => (await ask({ host, path: '/headers' })).body.includes('x-request-id'),
      patienceMs,
    )
    const total = 10_000
    const seen = await count(host, total)
    const sigma = Math.sqrt(total * 0.1 * 0.9)
    assert.equal((seen['v1'] ?? 0) + (seen['v2'] ?? 0), total)
    assert.ok(Math.abs((seen['v2'] ?? 0) - total * 0.1) <= 3 * sigma, `v2 answered ${seen['v2']} of ${total}`)
    const path = '/api/v1/namespaces/kube-system/services/fairlead-gateway:metrics/proxy/metrics'
    const counted = (await kubectl(`get --raw ${path}`))
      .split('\n')
      .filter((line) => line.startsWith('istio_requests_total{'))
    const ofNew = counted.find(
      (line) => line.includes('destination_version="v2"') && line.includes('response_code="200"'),
    )
    assert.match(ofNew ?? '', /destination_workload="go-app-v2"/)
    assert.ok(Number(ofNew?.split(' ').at(-1)) >= (seen['v2'] ?? 0))
    const weights = [
      { op: 'replace', path: '/spec/http/0/route/0/weight', value: 0 },
      { op: 'replace', path: '/spec/http/0/route/1/weight', value: 100 },
    ]
    await kubectl(`patch virtualservice go-app --type json -p ${JSON.stringify(weights)}`)
    await eventually('only v2', async () => Object.keys(await count(host, 50)).join() === 'v2', patienceMs)
    await kubectl('delete virtualservice go-app')
    await eventually(
      'both, past the gateway',
      async () => !(await ask({ host, path: '/headers' })).body.includes('x-request-id'),
      patienceMs,
    )
  })

  it('loses no request over fifty changes of weights, endpoints and routes', async () => {
    const host = await kubectl('get service go-app -o jsonpath={.spec.clusterIP}')
    await kubectl('apply -f -', manifest('chapters/canary'))
    await eventually(
      'calls that pass the gateway',
      async () => (await ask({ host, path: '/headers' })).body.includes('x-request-id'),
      patienceMs,
    )
    await using load = startLoad({ url: `http://${host}/`, perSecond: 100, connections: 'kept' })
    for (let change = 0; change < 50; change++) {
      const weights = [
        { op: 'replace', path: '/spec/http/0/route/0/weight', value: 100 - change },
        { op: 'replace', path: '/spec/http/0/route/1/weight', value: change },
      ]
      await kubectl(`patch virtualservice go-app --type json -p ${JSON.stringify(weights)}`)
      if (change % 10 === 5) await kubectl(`scale deployment/go-app-v1 --replicas=${change % 20 === 5 ? 1 : 2}`)
    }
    const answered = load.answers.length
    await eventually('more answers', () => load.answers.length > answered + 50, patienceMs)
    assert.deepEqual(load.failures, [])
    await kubectl('delete virtualservice,destinationrule go-app')
  })

  it('serves an Ingress by name and path, with TLS by the server name', async () => {
    const { privateKey } = generateKeyPairSync('ec', {
      namedCurve: 'P-256',
      privateKeyEncoding: { type: 'pkcs8', format: 'pem' },
      publicKeyEncoding: { type: 'spki', format: 'pem' },
    })
    const [key, cert] = [join(home.dir, 'tls.key'), join(home.dir, 'tls.crt')]
    writeFileSync(key, privateKey, { mode: 0o600 })
    const made = await run('openssl', [
      'req',
      '-x509',
      '-key',
      key,
      '-out',
      cert,
      '-days',
      '2',
      '-subj',
      '/CN=shop.example.com',
      '-addext',
      'subjectAltName=DNS:shop.example.com',
    ])
    assert.equal(made.code, 0, made.stderr)
    await kubectl(`create secret tls shop-tls --cert=${cert} --key=${key}`)
    await kubectl('apply -f -', manifest('gateway/ingress'))
    const status = (path: string): Promise<string> =>
      kubectl(`get ingress go-app -o jsonpath={.status.loadBalancer.ingress[0].${path}}`)
    await eventually('an address', async () => (await status('ip')) === '127.0.0.1', patienceMs)
    const [http = 0, https = 0] = (await status('ports[*].port')).split(' ').map(Number)
    const headers = { host: 'shop.example.com' }
    await eventually(
      'an answer',
      async () => (await ask({ host: '127.0.0.1', port: http, path: '/', headers })).status === 200,
      patienceMs,
    )
    assert.equal((await ask({ host: '127.0.0.1', port: http, path: '/new/x', headers })).body, 'v2')
    assert.equal(
      (await ask({ host: '127.0.0.1', port: http, path: '/', headers: { host: 'other.example.com' } })).status,
      404,
    )
    const secure = await askSecurely(https, readFileSync(cert))
    assert.deepEqual(secure, { status: 200, body: 'v2' })
    await kubectl('delete ingress go-app')
  })

  it('serves HTTPRoutes of a Gateway, and tells in their status what became of them', async () => {
    const port = await freePort()
    await kubectl('apply -f -', manifest('gateway/http-route').replace('PORT', String(port)))
    await kubectl('wait --for=condition=Programmed gateway/edge --timeout=180s')
    const conditions = 'get httproute go-app -o jsonpath={.status.parents[0].conditions[*].reason}'
    await eventually(
      'that a backend is missing',
      async () => (await kubectl(conditions)) === 'Accepted BackendNotFound',
      patienceMs,
    )
    assert.equal(await kubectl('get gateway edge -o jsonpath={.status.listeners[0].attachedRoutes}'), '1')
    const to = { host: '127.0.0.1', port }
    const headers = { host: 'shop.example.com' }
    assert.equal((await ask({ ...to, path: '/', headers: { ...headers, 'x-canary': 'always' } })).body, 'v2')
    assert.equal((await ask({ ...to, path: '/', headers })).status, 200)
    const moved = await ask({ ...to, path: '/old/cup?size=1', headers })
    assert.deepEqual([moved.status, moved.location], [301, 'http://shop.example.com/new/cup?size=1'])
    await kubectl('delete gateway,httproute --all')
    await eventually(
      'a closed port',
      () =>
        ask({ ...to, path: '/' }).then(
          () => false,
          () => true,
        ),
      patienceMs,
    )
  })

  function manifest(name: string): string {
    const text = readFileSync(join(repository, 'tests', 'e2e', 'testdata', `${name}.yaml`), 'utf8')
    return text.replaceAll(/(image: ).*:(v\d)/g, (_, key: string, version: string) => key + images[version])
  }
})

interface Answer {
  readonly status: number | undefined
  readonly location?: string | undefined
  readonly body: string
}

function ask(to: {
  host: string
  port?: number
  path: string
  headers?: Record<string, string>
  agent?: Agent
}): Promise<Answer> {
  return new Promise((resolve, reject) => {
    const sent = request({ port: 80, timeout: 10_000, agent: false, ...to }, (response) => {
      let body = ''
      response.setEncoding('utf8').on('data', (chunk: string) => (body += chunk))
      response.on('end', () => resolve({ status: response.statusCode, location: response.headers.location, body }))
    })
    sent.on('timeout', () => sent.destroy(new Error('no answer in time')))
    sent.on('error', reject)
    sent.end()
  })
}

function askSecurely(port: number, ca: Buffer): Promise<Answer> {
  return new Promise((resolve, reject) => {
    const options = {
      host: '127.0.0.1',
      port,
      servername: 'shop.example.com',
      path: '/new',
      ca,
      headers: { host: 'shop.example.com' },
      agent: false,
    }
    const sent = secureRequest(options, (response) => {
      let body = ''
      response.setEncoding('utf8').on('data', (chunk: string) => (body += chunk))
      response.on('end', () => resolve({ status: response.statusCode, body }))
    })
    sent.on('error', reject)
    sent.end()
  })
}

/** How many answers were of each kind, over connections that are used again. */
async function count(host: string, total: number): Promise<Record<string, number>> {
  const agent = new Agent({ keepAlive: true, maxSockets: 32 })
  const seen: Record<string, number> = {}
  const clients = Array.from({ length: 32 }, async (_, client) => {
    for (let index = client; index < total; index += 32) {
      const { body } = await ask({ host, path: '/', agent })
      seen[body] = (seen[body] ?? 0) + 1
    }
  })
  await Promise.all(clients)
  agent.destroy()
  return seen
}

/** Tells its version, or what it was sent; ends its requests before it ends. */
function program(version: string): string {
  return `
import { createServer } from 'node:http'
const server = createServer(({ url, headers }, response) => response.end(url === '/headers' ? JSON.stringify(headers) : '${version}'))
server.listen(8080)
process.on('SIGTERM', () => server.close())
`
}
