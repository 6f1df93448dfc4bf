// Manifests as a book on cloud-native services prints them, applied by the real kubectl. Only the names of images differ.
import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { after, before, describe, it } from 'node:test'
import { createKubectl, eventually, Home, missing, repository, type Kubectl } from './support/machine.ts'
import { startLoad } from './support/load.ts'
import { buildProgram } from './support/program-image.ts'

const skip = missing(['runc', 'conmon', 'nft', 'ip', 'kubectl'], { root: true })
const patienceMs = 120_000

describe('manifests of the chapters', { skip }, () => {
  let home: Home
  let kubectl: Kubectl
  const images: Record<string, string> = {}

  before(async () => {
    home = new Home()
    for (const version of ['v1', 'v2'])
      images[version] = await buildProgram(home, { name: `go-app-${version}`, source: program(version) })
    await home.fairleadOk(['cluster', 'start'])
    kubectl = createKubectl(await home.kubeconfig(), home.dir)
  })

  after(async () => {
    await home[Symbol.asyncDispose]()
  })

  it('runs three replicas behind a Service, with probes and resources', async () => {
    await apply('basic', manifest('deployment'))
    await kubectl('-n basic rollout status deployment/go-app --timeout=180s')
    assert.match(await kubectl('-n basic get deployment go-app'), /go-app +3\/3 +3 +3 /)
    assert.equal(await call(await addressOf('basic', 'go-app')), 'v1')
    assert.match(
      await kubectl('-n basic describe pods -l app=go-app'),
      /Liveness: +http-get http:\/\/:8080\/health delay=15s timeout=1s period=20s #success=1 #failure=3/,
    )
  })

  it('scales out under load that really is one, and in when it is over', async () => {
    await apply('basic', manifest('autoscaler'))
    const address = await addressOf('basic', 'go-app')
    const replicas = async (): Promise<number> =>
      Number(await kubectl('-n basic get deployment go-app -o jsonpath={.spec.replicas}'))
    {
      // 30 requests a second of 10 ms each are 300m; 70 % of 100m are allowed per pod.
      await using _load = startLoad({ url: `http://${address}/work`, perSecond: 30 })
      await eventually('more than three replicas', async () => (await replicas()) > 3, patienceMs)
    }
    assert.ok((await replicas()) <= 10)
    // Five minutes would pass first: the default, as the chapter says nothing else.
    const behavior = { scaleDown: { stabilizationWindowSeconds: 0 } }
    await kubectl(`-n basic patch hpa go-app-hpa --type merge -p ${JSON.stringify({ spec: { behavior } })}`)
    await eventually('three replicas', async () => (await replicas()) === 3, patienceMs)
  })

  it('switches from blue to green by a patch of the Service, without a lost request', async () => {
    await apply('switch', manifest('blue-green'))
    await kubectl('-n switch rollout status deployment/go-app-blue --timeout=180s')
    await kubectl('-n switch rollout status deployment/go-app-green --timeout=180s')
    const address = await addressOf('switch', 'go-app')
    // Without a readiness probe, and the chapter has none, pods are Ready before their program listens.
    const pods = await kubectl('-n switch get pods -o jsonpath={.items[*].status.podIP}')
    for (const pod of pods.split(' ')) await eventually('a pod that listens', () => call(`${pod}:8080`))
    assert.equal(await call(address), 'v1')
    await using load = startLoad({ url: `http://${address}/`, perSecond: 100 })
    await eventually('answers of blue', () => load.answers.length >= 50)
    assert.deepEqual(new Set(load.answers), new Set(['v1']))
    await kubectl('-n switch patch service go-app -p {"spec":{"selector":{"version":"green"}}}')
    const green = await eventually('green', () => load.answers.indexOf('v2') + 1)
    await eventually('fifty more', () => load.answers.length >= green + 50)
    assert.deepEqual(load.failures, [])
    assert.deepEqual(new Set(load.answers.slice(-25)), new Set(['v2']))
  })

  it('gives a LoadBalancer an address of this machine, or says who has its port', async () => {
    const isTaken = await call('127.0.0.1').then(
      () => true,
      ({ cause }) => cause?.code !== 'ECONNREFUSED',
    )
    await apply('balanced', manifest('load-balancer'))
    await kubectl('-n balanced rollout status deployment/my-go-app --timeout=180s')
    const about = await eventually('an address or a reason', async () => {
      const seen = await kubectl('-n balanced describe service my-go-app-service')
      return /LoadBalancer Ingress: +127\.0\.0\.1|127\.0\.0\.1:80: another program uses the port/.exec(seen)?.[0]
    })
    if (isTaken) assert.match(about, /another program/)
    else await eventually('an answer', async () => (await call('127.0.0.1')) === 'v1')
  })

  it('splits what one service calls of another by the weights of a canary', async () => {
    for (const version of ['v1', 'v2']) await apply('canary', workload(version))
    await apply(
      'canary',
      JSON.stringify({ apiVersion: 'v1', kind: 'Service', metadata: { name: 'go-app' }, spec: service }),
    )
    await apply('canary', manifest('canary'))
    for (const version of ['v1', 'v2'])
      await kubectl(`-n canary rollout status deployment/go-app-${version} --timeout=180s`)
    await kubectl('-n canary wait --for=condition=Ready pod --all --timeout=180s')
    const count = 10_000
    const caller = 'deployment/go-app-v1'
    const seen = await eventually(
      'both versions',
      async () => {
        const counted = JSON.parse(
          await kubectl
            .raw(['-n', 'canary', 'exec', caller, '--', 'node', '-e', callMany(count)])
            .then(({ stdout }) => stdout),
        )
        return counted.v2 > 0 ? counted : undefined
      },
      patienceMs,
    )
    assert.equal(seen.v1 + seen.v2, count)
    const deviation = Math.sqrt(count * 0.9 * 0.1)
    assert.ok(Math.abs(seen.v2 - count * 0.1) <= 3 * deviation, `${seen.v2} of ${count}`)
  })

  /** What the chapter takes as given: one Deployment for each version that the rule tells apart. */
  function workload(version: string): string {
    const labels = { app: 'go-app', version }
    const readinessProbe = { httpGet: { path: '/health', port: 8080 }, periodSeconds: 1 }
    const containers = [{ name: 'go-app', image: images[version], readinessProbe }]
    const spec = { selector: { matchLabels: labels }, template: { metadata: { labels }, spec: { containers } } }
    const metadata = { name: `go-app-${version}` }
    return JSON.stringify({ apiVersion: 'apps/v1', kind: 'Deployment', metadata, spec })
  }

  function manifest(name: string): string {
    const text = readFileSync(join(repository, 'tests', 'e2e', 'testdata', 'chapters', `${name}.yaml`), 'utf8')
    return text.replaceAll(/(image: ).*?:v?(\d)[\d.]*/g, (_, key: string, major: string) => key + images[`v${major}`])
  }

  async function apply(namespace: string, text: string): Promise<void> {
    await kubectl.raw(['create', 'namespace', namespace])
    await kubectl(`-n ${namespace} apply -f -`, text)
  }

  async function addressOf(namespace: string, service: string): Promise<string> {
    return await kubectl(`-n ${namespace} get service ${service} -o jsonpath={.spec.clusterIP}`)
  }
})

const service = { selector: { app: 'go-app' }, ports: [{ name: 'http', port: 80, targetPort: 8080 }] }

/** A program that calls the service so many times, and prints how often each version answered. */
function callMany(count: number): string {
  return `
const seen = {}
let left = ${count}
const one = async () => {
  while (left-- > 0) {
    const version = await (await fetch('http://go-app/')).text()
    seen[version] = (seen[version] ?? 0) + 1
  }
}
Promise.all(Array.from({ length: 16 }, one)).then(() => console.log(JSON.stringify(seen)))`
}

async function call(host: string): Promise<string> {
  return await (await fetch(`http://${host}/`, { signal: AbortSignal.timeout(30_000) })).text()
}

/** Tells its version, and works for ten milliseconds where it is asked to. */
function program(version: string): string {
  return `
import { createServer } from 'node:http'
const server = createServer(({ url }, response) => {
  const until = performance.now() + 10
  while (url === '/work' && performance.now() < until);
  response.end('${version}')
})
server.listen(8080)
process.on('SIGTERM', () => server.close())
`
}
