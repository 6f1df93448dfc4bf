// The main job: the example shop from TypeScript source to running, reachable services.
import assert from 'node:assert/strict'
import { randomUUID } from 'node:crypto'
import { readFileSync, readdirSync } from 'node:fs'
import { join } from 'node:path'
import { after, before, describe, it } from 'node:test'
import { createKubectl, eventually, freePort, Home, missing, type Kubectl } from './support/machine.ts'

const skip = missing(['runc', 'conmon', 'nft', 'ip', 'kubectl'], { root: true })

describe('fairlead up examples/shop', { skip }, () => {
  let home: Home
  let kubectl: Kubectl
  let url: string

  before(async () => {
    const port = await freePort()
    home = new Home({ SHOP_PORT: String(port) })
    // Letters beyond ASCII and a space in the path: the tools below us must be told of the encoding.
    home.env['FAIRLEAD_HOME'] = join(home.dir, 'hömé of Zoë')
    url = `http://127.0.0.1:${port}`
    const { stdout } = await home.fairleadOk(['up', 'examples/shop'])
    assert.match(stdout, new RegExp(url))
    kubectl = createKubectl(await home.kubeconfig(), home.dir)
  })

  after(async () => {
    await home[Symbol.asyncDispose]()
  })

  it('serves the shop pages through the LoadBalancer address', async () => {
    const page = await fetch(url, { signal: AbortSignal.timeout(30_000) })
    assert.equal(page.status, 200)
    assert.match(page.headers.get('content-type') ?? '', /text\/html/)
    assert.match(await page.text(), /<html/)
    const service = JSON.parse(await kubectl('get service web -o json'))
    assert.equal(service.spec.type, 'LoadBalancer')
    assert.equal(service.status.loadBalancer.ingress[0].ip, '127.0.0.1')
  })

  it('lets orders reach catalog by its Service name through cluster DNS', async () => {
    const pod = await runningPod('orders')
    const address = JSON.parse(await kubectl('get service catalog -o json')).spec.clusterIP
    const resolvConf = readFileSync(`/proc/${pidOf(pod)}/root/etc/resolv.conf`, 'utf8')
    assert.match(resolvConf, /search default\.svc\.cluster\.local/)
    assert.match(address, /^10\./)
    const orders = await placeOrder()
    assert.equal(orders.status, 201, await orders.text())
  })

  it('runs every process as a non-root user on a read-only root file system without capabilities', async () => {
    for (const service of ['catalog', 'orders', 'web']) {
      const pid = pidOf(await runningPod(service))
      const status = readFileSync(`/proc/${pid}/status`, 'utf8')
      assert.match(status, /^Uid:\t65532\t65532\t65532\t65532$/m, service)
      assert.match(status, /^CapEff:\t0+$/m, service)
      assert.match(status, /^CapBnd:\t0+$/m, service)
      assert.match(status, /^NoNewPrivs:\t1$/m, service)
      assert.match(status, /^Seccomp:\t2$/m, service)
      const rootMount = readFileSync(`/proc/${pid}/mountinfo`, 'utf8')
        .split('\n')
        .find((line) => line.split(' ')[4] === '/')
      assert.match(rootMount ?? '', / \/ ro[, ]/, service)
    }
  })

  it('restarts a container whose process is killed', async () => {
    const before = await runningPod('catalog')
    process.kill(pidOf(before), 'SIGKILL')
    const again = await eventually('catalog restarted', async () => {
      const pod = await runningPod('catalog')
      return pod.status.containerStatuses[0].restartCount > before.status.containerStatuses[0].restartCount &&
        pod.status.containerStatuses[0].ready
        ? pod
        : undefined
    })
    assert.equal(again.metadata.uid, before.metadata.uid)
    await eventually('the page is back', async () => (await fetch(url)).ok)
  })

  it('says that nothing changed when it is run again', async () => {
    const generations = async (): Promise<unknown> =>
      JSON.parse(await kubectl('get deployments -o json')).items.map((item: Json) => [
        item.metadata.name,
        item.metadata.generation,
      ])
    const before = await generations()
    await home.fairleadOk(['up', 'examples/shop'])
    assert.deepEqual(await generations(), before)
  })

  it('shows services and logs through the Kubernetes API', async () => {
    const status = JSON.parse((await home.fairleadOk(['status', 'shop', '--json'])).stdout)
    assert.equal(JSON.stringify(status).includes(url), true)
    const logs = await home.fairleadOk(['logs', 'shop', '--tail', '5'])
    assert.match(logs.stdout, /web/)
  })

  async function runningPod(service: string): Promise<Json> {
    return eventually(`a running pod of ${service}`, async () => {
      const pods: Json[] = JSON.parse(await kubectl(`get pods -l app.kubernetes.io/name=${service} -o json`)).items
      return pods.find(
        (pod) => pod.status.phase === 'Running' && pod.status.containerStatuses?.[0]?.state?.running !== undefined,
      )
    })
  }

  /** The service process of a pod on this machine: the one whose cgroup or environment names the pod. */
  function pidOf(pod: Json): number {
    for (const entry of readdirSync('/proc')) {
      if (!/^\d+$/.test(entry)) continue
      try {
        const environment = readFileSync(`/proc/${entry}/environ`, 'utf8').split('\0')
        if (environment.includes(`HOSTNAME=${pod.metadata.name}`)) return Number(entry)
      } catch {
        // The process ended, or is not ours to read.
      }
    }
    throw new Error(`no process of pod ${pod.metadata.name}`)
  }

  async function placeOrder(): Promise<Response> {
    const customer = { name: 'Ada', email: 'ada@example.com', address: '1 Harbour Lane' }
    const body = JSON.stringify({ customer, lines: [{ sku: await firstSku(), quantity: 1 }] })
    const headers = { 'content-type': 'application/json', 'idempotency-key': randomUUID() }
    return viaService('orders', '/orders', { method: 'POST', headers, body })
  }

  async function firstSku(): Promise<unknown> {
    const answer: Json = await (await viaService('catalog', '/products')).json()
    return answer.items[0].sku
  }

  /** Calls a ClusterIP from the host, which is a node of the cluster. */
  async function viaService(name: string, path: string, init?: RequestInit): Promise<Response> {
    const service = JSON.parse(await kubectl(`get service ${name} -o json`))
    return fetch(`http://${service.spec.clusterIP}:${service.spec.ports[0].port}${path}`, {
      ...init,
      signal: AbortSignal.timeout(30_000),
    })
  }
})

// kubectl prints untyped JSON.
// oxlint-disable-next-line typescript/no-explicit-any
type Json = any
