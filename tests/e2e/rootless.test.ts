// What the objects of a cluster do where nobody is root: pods as plain processes, on two nodes, asked from outside and by each other.
import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import { request } from 'node:http'
import { join } from 'node:path'
import { after, before, describe, it } from 'node:test'
import type { Pod } from '@fairlead/kube/types/core-v1'
import { createKubectl, eventually, freePort, type Home, type Kubectl, missing, repository } from './support/machine.ts'
import { unprivilegedHome, whyNotAsNobody } from './support/nobody.ts'
import { buildProgram } from './support/program-image.ts'

const skip = missing(['kubectl']) || (await whyNotAsNobody())
const patienceMs = 90_000

describe('a cluster of a user who is not root', { skip, timeout: 900_000 }, () => {
  let home: Home
  let kubectl: Kubectl
  const images: Record<string, string> = {}

  before(async () => {
    home = unprivilegedHome()
    for (const version of ['v1', 'v2'])
      images[version] = await buildProgram(home, { name: `go-app-${version}`, source: program(version) })
    await home.fairleadOk(['cluster', 'start', '--nodes', '2'])
    kubectl = createKubectl(await home.kubeconfig(), home.dir)
    await kubectl('create configmap settings --from-literal=greeting=ahoy')
    await kubectl('create secret generic keys --from-literal=key=s3cret')
    await kubectl('apply -f -', manifest('gateway/apps'))
    await kubectl('apply -f -', client())
    for (const name of ['go-app-v1', 'go-app-v2', 'client'])
      await kubectl(`rollout status deployment/${name} --timeout=180s`)
  })

  after(async () => {
    await home[Symbol.asyncDispose]()
  })

  it('says how its pods run, and what is not enforced for them', async () => {
    const status = await home.fairleadOk(['cluster', 'status'])
    assert.match(status.stdout, /pods as process 24\..*containers need root.*on 2 nodes/)
    assert.match(status.stdout, /not enforced: .*limits of CPU and memory.*NetworkPolicy/)
    const { runtime } = JSON.parse((await home.fairleadOk(['cluster', 'status', '--json'])).stdout)
    assert.ok(runtime.notEnforced.includes('NetworkPolicy'), JSON.stringify(runtime))
    await kubectl('apply -f -', policy())
    await eventually('an event of the policy', async () =>
      (await kubectl('get events --field-selector involvedObject.kind=NetworkPolicy')).includes('NotEnforced'),
    )
    await kubectl('delete networkpolicy nobody-in')
  })

  it('runs pods on each of its nodes', async () => {
    await kubectl('scale deployment go-app-v1 --replicas=4')
    await kubectl('rollout status deployment/go-app-v1 --timeout=180s')
    const pods = await podsOf('version=v1')
    assert.equal(new Set(pods.map(({ spec }) => spec?.nodeName)).size, 2)
    assert.equal(new Set(pods.map(({ status }) => status?.podIP)).size, 4)
    await kubectl('scale deployment go-app-v1 --replicas=2')
    await kubectl('rollout status deployment/go-app-v1 --timeout=180s')
  })

  it('leads names and addresses of Services, with the port of the Service, to their pods', async () => {
    const address = await kubectl('get service go-app -o jsonpath={.spec.clusterIP}')
    for (const host of ['go-app', 'go-app.default', 'go-app.default.svc.cluster.local', address]) {
      const seen = await callFromPod(`http://${host}/`, 40)
      assert.deepEqual(Object.keys(seen).toSorted(), ['v1', 'v2'], host)
    }
    const names = await callFromPod('http://go-app/name', 60)
    assert.equal(Object.keys(names).length, 3)
  })

  it('keeps a client at its pod with session affinity, from inside and outside', async () => {
    const port = await freePort()
    await kubectl('apply -f -', service('sticky', { type: 'LoadBalancer', sessionAffinity: 'ClientIP', port }))
    await eventually('an answer', async () => (await ask({ port, path: '/name' })).status === 200, patienceMs)
    assert.equal(Object.keys(await callFromPod(`http://sticky:${port}/name`, 30)).length, 1)
    const names = new Set<string>()
    for (let index = 0; index < 20; index++) names.add((await ask({ port, path: '/name' })).body)
    assert.equal(names.size, 1)
  })

  it('serves load balancers and node ports on this machine', async () => {
    const port = await freePort()
    await kubectl('apply -f -', service('outside', { type: 'LoadBalancer', port }))
    await eventually('an answer', async () => (await ask({ port, path: '/' })).status === 200, patienceMs)
    const nodePort = Number(await kubectl('get service outside -o jsonpath={.spec.ports[0].nodePort}'))
    assert.match((await ask({ port: nodePort, path: '/' })).body, /^v[12]$/)
  })

  it('splits the calls of pods and of clients outside 90 to 10 by a VirtualService', async () => {
    const port = await freePort()
    await kubectl('apply -f -', manifest('chapters/canary'))
    await kubectl('apply -f -', service('edge', { type: 'LoadBalancer', port }))
    await eventually(
      'calls that pass the gateway',
      async () =>
        Object.keys(await callFromPod('http://go-app/headers', 1))
          .join()
          .includes('x-request-id'),
      patienceMs,
    )
    const total = 2_000
    const seen = await callFromPod('http://go-app/', total)
    const sigma = Math.sqrt(total * 0.1 * 0.9)
    assert.equal((seen['v1'] ?? 0) + (seen['v2'] ?? 0), total)
    assert.ok(Math.abs((seen['v2'] ?? 0) - total * 0.1) <= 4 * sigma, `v2 answered ${seen['v2']} of ${total}`)
    const weights = [
      { op: 'replace', path: '/spec/http/0/route/0/weight', value: 0 },
      { op: 'replace', path: '/spec/http/0/route/1/weight', value: 100 },
    ]
    await kubectl(`patch virtualservice go-app --type json -p ${JSON.stringify(weights)}`)
    await eventually(
      'only v2',
      async () => Object.keys(await callFromPod('http://go-app/', 30)).join() === 'v2',
      patienceMs,
    )
    await kubectl('delete virtualservice,destinationrule go-app')
    await kubectl('delete service edge')
    await eventually(
      'calls past the gateway',
      async () =>
        !Object.keys(await callFromPod('http://go-app/headers', 1))
          .join()
          .includes('x-request-id'),
      patienceMs,
    )
  })

  it('serves an HTTPRoute, whose weights are held by calls of pods too', async () => {
    const port = await freePort()
    await kubectl('apply -f -', manifest('gateway/http-route').replace('PORT', String(port)))
    await kubectl('wait --for=condition=Programmed gateway/edge --timeout=180s')
    const headers = { host: 'shop.example.com' }
    const canary = { port, path: '/', headers: { ...headers, 'x-canary': 'always' } }
    await eventually('a route', async () => (await ask(canary)).body === 'v2', patienceMs)
    assert.equal((await ask({ port, path: '/old/cup', headers })).status, 301)
    await kubectl('apply -f -', meshRoute())
    await eventually(
      'only v2',
      async () => Object.keys(await callFromPod('http://go-app/', 30)).join() === 'v2',
      patienceMs,
    )
    await kubectl('delete gateway,httproute --all')
  })

  it('serves an Ingress', async () => {
    await kubectl('apply -f -', manifest('gateway/ingress').replace(/^ {2}tls:.*\n/m, ''))
    const port = await eventually(
      'a port',
      async () =>
        Number(await kubectl('get ingress go-app -o jsonpath={.status.loadBalancer.ingress[0].ports[0].port}')),
      patienceMs,
    )
    const headers = { host: 'shop.example.com' }
    await eventually('v2', async () => (await ask({ port, path: '/new', headers })).body === 'v2', patienceMs)
    await kubectl('delete ingress go-app')
  })

  it('shows ConfigMaps, Secrets and the token of the pod at their paths, and follows changes', async () => {
    assert.equal(await fileOfPod('/etc/settings/greeting'), 'ahoy')
    assert.equal(await fileOfPod('/etc/keys/key'), 's3cret')
    await kubectl('patch configmap settings --type merge -p {"data":{"greeting":"avast"}}')
    await eventually('the change', async () => (await fileOfPod('/etc/settings/greeting')) === 'avast', patienceMs)
    const token = await fileOfPod('/var/run/secrets/kubernetes.io/serviceaccount/token')
    assert.equal(token.split('.').length, 3)
    // Written to the volume by one request and read by another, and not to this machine.
    await askPod('/write?path=/data/note')
    assert.equal(await fileOfPod('/data/note'), 'noted')
    assert.throws(() => readFileSync('/data/note'), { code: 'ENOENT' })
  })

  it('lets a pod ask the API by the name, the token and the authority of its account', async () => {
    assert.equal(await askPod('/self'), 'system:serviceaccount:default:default')
  })

  it('follows probes, with logs, exec and port-forward', async () => {
    const [pod] = await podsOf('app=client')
    const name = pod?.metadata?.name ?? ''
    assert.equal((await kubectl(`exec ${name} -- node -p process.env.HOSTNAME`)).trim(), name)
    assert.match(await kubectl(`logs ${name}`), /listening/)
    const local = await freePort()
    const forward = kubectl.start(['port-forward', name, `${local}:8080`])
    await eventually('a forwarded port', () => forward.stdout.includes('Forwarding from'))
    assert.equal((await ask({ port: local, path: '/name' })).body, name)
    await forward[Symbol.asyncDispose]()
    await askPod('/break')
    await eventually(
      'a restart by the liveness probe',
      async () => ((await podsOf('app=client'))[0]?.status?.containerStatuses?.[0]?.restartCount ?? 0) > 0,
      patienceMs,
    )
    await kubectl('wait --for=condition=Ready pod -l app=client --timeout=180s')
  })

  it('measures what pods use, and scales by it', async () => {
    await askPod('/burn')
    await eventually(
      'figures',
      async () => /client-\S+ +\d{2,}m/.test(await kubectl('top pods').catch(() => '')),
      patienceMs,
    )
    await kubectl('apply -f -', autoscaler())
    await eventually(
      'two replicas',
      async () => (await kubectl('get deployment client -o jsonpath={.spec.replicas}')) === '2',
      patienceMs,
    )
    await kubectl('delete hpa client')
  })

  it('scales by what pods tell of themselves, with nothing installed', async () => {
    await kubectl('scale deployment client --replicas=1')
    await kubectl('rollout status deployment/client --timeout=180s')
    await kubectl('apply -f -', autoscaler({ name: 'jobs_waiting', averageValue: '10' }))
    await eventually(
      'two replicas',
      async () => (await kubectl('get deployment client -o jsonpath={.spec.replicas}')) === '2',
      patienceMs,
    )
    const path = '/apis/custom.metrics.k8s.io/v1beta2/namespaces/default/pods/*/jobs_waiting'
    assert.equal(JSON.parse(await kubectl(`get --raw ${path}`)).items[0].value, '20')
    const rate = path.replace('jobs_waiting', 'http_requests_per_second')
    await eventually(
      'a rate',
      async () => {
        await askPod('/')
        const { items } = JSON.parse(await kubectl(`get --raw ${rate}`)) as { items: { value: string }[] }
        return items.some(({ value }) => value !== '0')
      },
      patienceMs,
    )
    await kubectl('delete hpa client')
  })

  /** What the pod `client` answers; it may be another process than a moment ago. */
  async function askPod(path: string): Promise<string> {
    const found = await podsOf('app=client')
    const pod = found.find(({ metadata }) => metadata?.deletionTimestamp === undefined)
    const { status, body } = await ask({ host: pod?.status?.podIP ?? '', port: 8080, path })
    assert.equal(status, 200, body)
    return body
  }

  const fileOfPod = (path: string): Promise<string> => askPod(`/file?path=${path}`)

  /** How many of `count` calls that the pod `client` makes were answered with what. */
  async function callFromPod(url: string, count: number): Promise<Record<string, number>> {
    return JSON.parse(await askPod(`/call?count=${count}&url=${encodeURIComponent(url)}`)) as Record<string, number>
  }

  async function podsOf(selector: string): Promise<Pod[]> {
    return JSON.parse(await kubectl(`get pods -l ${selector} -o json`)).items
  }

  function manifest(name: string): string {
    const text = readFileSync(join(repository, 'tests', 'e2e', 'testdata', `${name}.yaml`), 'utf8')
    return text.replaceAll(/(image: ).*:(v\d)/g, (_, key: string, version: string) => key + images[version])
  }

  function client(): string {
    const labels = { app: 'client' }
    const httpGet = { path: '/healthy', port: 8080 }
    const container = {
      name: 'main',
      image: images['v1'],
      resources: { requests: { cpu: '100m' }, limits: { memory: '256Mi' } },
      readinessProbe: { httpGet, periodSeconds: 1 },
      livenessProbe: { httpGet, periodSeconds: 1, failureThreshold: 2 },
      volumeMounts: [
        { name: 'settings', mountPath: '/etc/settings' },
        { name: 'keys', mountPath: '/etc/keys' },
        { name: 'data', mountPath: '/data' },
      ],
    }
    const volumes = [
      { name: 'settings', configMap: { name: 'settings' } },
      { name: 'keys', secret: { secretName: 'keys' } },
      { name: 'data', emptyDir: {} },
    ]
    const annotations = { 'prometheus.io/scrape': 'true', 'prometheus.io/port': '8080' }
    const template = { metadata: { labels, annotations }, spec: { containers: [container], volumes } }
    const spec = { selector: { matchLabels: labels }, template }
    return JSON.stringify({ apiVersion: 'apps/v1', kind: 'Deployment', metadata: { name: 'client' }, spec })
  }
})

function service(name: string, { port, ...spec }: { type: string; port: number; sessionAffinity?: string }): string {
  const ports = [{ port, targetPort: 8080 }]
  const whole = { ...spec, selector: { app: 'go-app' }, ports }
  return JSON.stringify({ apiVersion: 'v1', kind: 'Service', metadata: { name }, spec: whole })
}

function policy(): string {
  const spec = { podSelector: {}, policyTypes: ['Ingress'] }
  const about = { apiVersion: 'networking.k8s.io/v1', kind: 'NetworkPolicy' }
  return JSON.stringify({ ...about, metadata: { name: 'nobody-in' }, spec })
}

function autoscaler(pods?: { name: string; averageValue: string }): string {
  const scaleTargetRef = { apiVersion: 'apps/v1', kind: 'Deployment', name: 'client' }
  const metric =
    pods === undefined
      ? { type: 'Resource', resource: { name: 'cpu', target: { type: 'Utilization', averageUtilization: 20 } } }
      : {
          type: 'Pods',
          pods: { metric: { name: pods.name }, target: { type: 'AverageValue', averageValue: pods.averageValue } },
        }
  const metrics = [metric]
  const about = { apiVersion: 'autoscaling/v2', kind: 'HorizontalPodAutoscaler', metadata: { name: 'client' } }
  return JSON.stringify({ ...about, spec: { scaleTargetRef, minReplicas: 1, maxReplicas: 2, metrics } })
}

/** Calls of the Service itself, as GAMMA has it: the parent is a Service. */
function meshRoute(): string {
  const parentRefs = [{ group: '', kind: 'Service', name: 'go-app', port: 80 }]
  const spec = { parentRefs, rules: [{ backendRefs: [{ name: 'go-app-v2', port: 80 }] }] }
  const about = { apiVersion: 'gateway.networking.k8s.io/v1', kind: 'HTTPRoute' }
  return JSON.stringify({ ...about, metadata: { name: 'mesh' }, spec })
}

interface Answer {
  readonly status: number | undefined
  readonly body: string
}

function ask(to: { host?: string; port: number; path: string; headers?: Record<string, string> }): Promise<Answer> {
  return new Promise((resolve, reject) => {
    const sent = request({ host: '127.0.0.1', timeout: 60_000, agent: false, ...to }, (response) => {
      let body = ''
      response.setEncoding('utf8').on('data', (chunk: string) => (body += chunk))
      response.on('end', () => resolve({ status: response.statusCode, body }))
    })
    sent.on('timeout', () => sent.destroy(new Error('no answer in time')))
    sent.on('error', reject)
    sent.end()
  })
}

/** Tells what it is, calls others, reads and writes files, asks the API, keeps a core busy, breaks: as it is asked. */
function program(version: string): string {
  return `
import { createServer, get } from 'node:http'
import { request } from 'node:https'
import { readFileSync, writeFileSync } from "node:fs"
import { text } from 'node:stream/consumers'
const account = '/var/run/secrets/kubernetes.io/serviceaccount'
let isBroken = false
let served = 0
const call = (url) => new Promise((done, fail) =>
  get(url, { agent: false }, (response) => done(text(response))).on('error', fail))
const whoAmI = () => new Promise((done, fail) => {
  const body = JSON.stringify({ apiVersion: 'authentication.k8s.io/v1', kind: 'SelfSubjectReview' })
  const headers = { authorization: 'Bearer ' + readFileSync(account + '/token', 'utf8'), 'content-type': 'application/json' }
  const path = '/apis/authentication.k8s.io/v1/selfsubjectreviews'
  const options = { host: 'kubernetes.default.svc', path, method: 'POST', headers, ca: readFileSync(account + '/ca.crt'), agent: false }
  request(options, async (response) => done(JSON.parse(await text(response)).status.userInfo.username)).on('error', fail).end(body)
})
const routes = {
  '/name': () => process.env.HOSTNAME,
  '/metrics': () => '# TYPE jobs_waiting gauge\\njobs_waiting 20\\nhttp_requests_total ' + served + '\\n',
  '/headers': (query, headers) => JSON.stringify(headers),
  '/file': (query) => readFileSync(query.get('path'), 'utf8'),
  '/write': (query) => { writeFileSync(query.get('path'), 'noted'); return 'written' },
  '/self': () => whoAmI(),
  '/burn': () => { setInterval(() => { for (const end = Date.now() + 60; Date.now() < end;); }, 200); return 'burning' },
  '/break': () => { isBroken = true; return 'broken' },
  async '/call'(query) {
    const seen = {}
    const total = Number(query.get('count'))
    const next = async () => { const body = await call(query.get('url')); seen[body] = (seen[body] ?? 0) + 1 }
    const lane = async (first) => { for (let i = first; i < total; i += 8) await next() }
    await Promise.all([0, 1, 2, 3, 4, 5, 6, 7].map(lane))
    return JSON.stringify(seen)
  },
}
const server = createServer(async ({ url, headers }, response) => {
  const { pathname, searchParams } = new URL(url, 'http://pod')
  served++
  try {
    if (pathname === '/healthy' && isBroken) response.statusCode = 500
    response.end(await (routes[pathname]?.(searchParams, headers) ?? '${version}'))
  } catch (error) {
    response.writeHead(500).end(error.stack)
  }
})
server.listen(8080, () => console.log('listening'))
process.on('SIGTERM', () => { server.close(() => process.exit()); server.closeIdleConnections() })
`
}
