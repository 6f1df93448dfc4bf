// Pods as plain processes: chosen by root, and all there is for everybody else.
import assert from 'node:assert/strict'
import { readdirSync, readFileSync, readlinkSync, statSync } from 'node:fs'
import { after, before, describe, it } from 'node:test'
import { createKubectl, eventually, freePort, Home, type Kubectl, missing } from './support/machine.ts'
import { unprivilegedHome, unprivilegedUser, whyNotAsNobody } from './support/nobody.ts'

const isRoot = process.getuid?.() === 0

describe('cluster start --runtime process', { skip: missing(['kubectl']) }, () => {
  let home: Home
  let kubectl: Kubectl
  let url: string

  before(async () => {
    const port = await freePort()
    home = new Home({ SHOP_PORT: String(port) })
    url = `http://127.0.0.1:${port}`
    const { stdout } = await home.fairleadOk(['cluster', 'start', '--runtime', 'process', '--json'])
    assert.equal(JSON.parse(stdout).runtime.kind, 'processes')
    await home.fairleadOk(['up', 'examples/shop'])
    kubectl = createKubectl(await home.kubeconfig(), home.dir)
  })

  after(async () => {
    await home[Symbol.asyncDispose]()
  })

  it('serves pages, and takes an order that reaches orders and catalog by their Service names', async () => {
    assert.match(await read('/'), /<html/)
    const location = await placeOrder(url)
    assert.match(await read(location), /Ada/)
    // The stock was reserved by orders, which knows the catalog as http://catalog.
    const logs = await home.fairleadOk(['logs', 'catalog'])
    assert.match(logs.stdout, /"route":"\/reservations"/)
  })

  it('shows how pods run in kubectl get nodes -o wide', async () => {
    assert.match(await kubectl('get nodes -o wide'), /CONTAINER-RUNTIME[^]*process:\/\/24\./)
    const status = await home.fairleadOk(['cluster', 'status'])
    assert.match(status.stdout, /pods as process 24\./)
  })

  it('serves from both replicas of a service at one address', async () => {
    await kubectl('scale deployment web --replicas=2')
    await kubectl('rollout status deployment/web --timeout=180s')
    const pods = await podsOf('web')
    assert.equal(new Set(pods.map((pod) => pod.status.podIP)).size, 2)
    await eventually('a request at each of the pods', async () => {
      await read('/orders')
      const logs = await Promise.all(pods.map((pod) => kubectl(`logs ${pod.metadata.name}`)))
      return logs.every((text) => text.includes('"route":"/orders"'))
    })
  })

  it('restarts a process that is killed', async () => {
    const [pod] = await podsOf('catalog')
    process.kill(pidOf(pod), 'SIGKILL')
    await eventually('catalog restarted', async () => {
      const [again] = await podsOf('catalog')
      const [container] = again.status.containerStatuses
      return container.restartCount === 1 && container.ready
    })
    await eventually('the page is back', async () => (await get('/')).ok)
  })

  it('takes its processes over, still as processes, when the cluster process is killed', async () => {
    const containers = async (): Promise<string> =>
      kubectl('get pods -o jsonpath={.items[*].status.containerStatuses[0].containerID}')
    const started = await containers()
    process.kill(JSON.parse((await home.fairleadOk(['cluster', 'status', '--json'])).stdout).pid, 'SIGKILL')
    await home.fairleadOk(['cluster', 'start'])
    await eventually('the shop serves again', async () => (await get('/orders')).ok)
    assert.equal(await containers(), started)
    assert.match(started, /^process:/)
  })

  it('leaves nothing running after down', async () => {
    assert.notDeepEqual(processesIn(home.dir), [])
    await home.fairleadOk(['down'])
    assert.deepEqual(processesIn(home.dir), [])
    await assert.rejects(get('/'))
  })

  async function podsOf(service: string): Promise<Json[]> {
    return JSON.parse(await kubectl(`get pods -l app.kubernetes.io/name=${service} -o json`)).items
  }

  async function get(path: string): Promise<Response> {
    // A connection stays with its pod: a new one for each request.
    return fetch(new URL(path, url), { headers: { connection: 'close' }, signal: AbortSignal.timeout(30_000) })
  }

  async function read(path: string): Promise<string> {
    const response = await get(path)
    const text = await response.text()
    assert.equal(response.status, 200, text)
    return text
  }
})

describe(
  'fairlead up as a user who is not root',
  { skip: isRoot ? await whyNotAsNobody() : 'this user is not root: the tests above ran as that' },
  () => {
    it('runs the shop as processes of this user, and leaves nothing', async () => {
      const port = await freePort()
      await using home = unprivilegedHome({ SHOP_PORT: String(port) })
      const doctor = await home.fairlead(['doctor'])
      assert.match(doctor.stdout, /not root: pods run as plain processes/)

      const up = await home.fairleadOk(['up', 'examples/shop'])
      assert.match(up.stderr, /pods as process 24\.\S+ \(.*containers need root\)/)
      const location = await placeOrder(`http://127.0.0.1:${port}`)
      assert.match(location, /^\/orders\//)
      const running = processesIn(home.dir)
      assert.ok(running.length > 3)
      for (const pid of running) assert.equal(statSync(`/proc/${pid}`).uid, unprivilegedUser)

      await home.fairleadOk(['down', '--purge'])
      assert.deepEqual(processesIn(home.dir), [])

      // Without waiting for readiness: the programs run by then, and it says where.
      const detached = JSON.parse((await home.fairleadOk(['up', 'examples/shop', '--detach', '--json'])).stdout)
      assert.equal(detached.services.find(({ url }: Json) => url !== undefined)?.url, `http://127.0.0.1:${port}`)
      const pods = processesIn(home.dir).filter((pid) => readOf(String(pid), 'environ').includes('FAIRLEAD_POD_IP='))
      assert.ok(pods.length >= detached.services.length, `${pods.length} programs`)
    })
  },
)

/** Goes through the pages as a visitor does; the path of the order's page. */
async function placeOrder(url: string): Promise<string> {
  const put = await post('/cart', { sku: 'lantern-brass', add: '2' })
  const cookie = put.headers.getSetCookie()[0]?.split(';')[0] ?? ''
  const cart = await (await fetch(`${url}/cart`, { headers: { cookie }, signal: AbortSignal.timeout(30_000) })).text()
  const field = (name: string): string => new RegExp(`name="${name}" value="([^"]*)"`).exec(cart)?.[1] ?? ''
  const visitor = { name: 'Ada', email: 'ada@example.com', address: '1 Harbour Lane' }
  const placed = await post('/orders', { key: field('key'), line: field('line'), ...visitor }, cookie)
  assert.equal(placed.status, 303, await placed.text())
  return placed.headers.get('location') ?? ''

  async function post(path: string, form: Record<string, string>, cookies = ''): Promise<Response> {
    return fetch(`${url}${path}`, {
      method: 'POST',
      redirect: 'manual',
      headers: { cookie: cookies },
      body: new URLSearchParams(form),
      signal: AbortSignal.timeout(30_000),
    })
  }
}

/** Processes that name this folder or work in it. */
function processesIn(folder: string): number[] {
  return readdirSync('/proc')
    .filter((entry) => /^\d+$/.test(entry))
    .filter((entry) => {
      const [directory, words] = [readOf(entry, 'cwd'), readOf(entry, 'cmdline')]
      return directory.startsWith(folder) || words.includes(folder)
    })
    .map(Number)
}

/** The process of a pod: the one whose environment names the pod. */
function pidOf(pod: Json): number {
  const found = readdirSync('/proc').find(
    (entry) => /^\d+$/.test(entry) && readOf(entry, 'environ').split('\0').includes(`HOSTNAME=${pod.metadata.name}`),
  )
  return Number(found ?? assert.fail(`no process of pod ${pod.metadata.name}`))
}

/** Empty for a process that ended, or is not ours to read. */
function readOf(pid: string, file: 'cwd' | 'cmdline' | 'environ'): string {
  try {
    return file === 'cwd' ? readlinkSync(`/proc/${pid}/cwd`) : readFileSync(`/proc/${pid}/${file}`, 'utf8')
  } catch {
    return ''
  }
}

// kubectl prints untyped JSON.
// oxlint-disable-next-line typescript/no-explicit-any
type Json = any
