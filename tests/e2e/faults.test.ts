// What goes wrong on machines: the cluster becomes what its objects say, and a leak check ends it.
import assert from 'node:assert/strict'
import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { after, before, describe, it } from 'node:test'
import { killRuntimes } from './support/kills.ts'
import { createKubectl, eventually, Home, missing, repository, type Kubectl } from './support/machine.ts'
import { buildProgram } from './support/program-image.ts'

const skip = missing(['runc', 'conmon', 'nft', 'ip', 'kubectl'], { root: true })
const patienceMs = 120_000

/** Answers probes until it is told to hang; stays where it is told to go. */
const program = `
import { createServer } from 'node:http'
const [, , how] = process.argv
let hangs = false
createServer(({ url }, response) => {
  if (url === '/hang') hangs = true
  if (!hangs) response.end('well')
}).listen(8080)
process.on('SIGTERM', () => how === 'deaf' || process.exit(0))
`

describe('faults', { skip }, () => {
  let home: Home
  let kubectl: Kubectl
  let image: string

  before(async () => {
    const NODE_OPTIONS = `--import=${join(repository, 'tests', 'e2e', 'support', 'clock-jump.mjs')}`
    home = new Home({ NODE_OPTIONS })
    image = await buildProgram(home, { name: 'patient', source: program })
    await home.fairleadOk(['cluster', 'start'])
    kubectl = createKubectl(await home.kubeconfig(), home.dir)
  })

  after(async () => {
    await home[Symbol.asyncDispose]()
  })

  it('a container that does not hear SIGTERM: is killed when its grace is over', async () => {
    await run(pod('deaf', { args: ['deaf'] }, { terminationGracePeriodSeconds: 2 }))
    const before = performance.now()
    await kubectl('delete pod deaf --wait --timeout=180s')
    assert.ok(performance.now() - before >= 1_900)
  })

  it('a probe that hangs: the container is started again', async () => {
    const httpGet = { path: '/', port: 8080 }
    const livenessProbe = { httpGet, periodSeconds: 1, timeoutSeconds: 1, failureThreshold: 2 }
    await run(pod('hangs', { livenessProbe }, { terminationGracePeriodSeconds: 1 }))
    const address = await kubectl('get pod hangs -o jsonpath={.status.podIP}')
    await eventually('a program that listens', () => fetch(`http://${address}:8080/`))
    // Ends with the container.
    const hanging = fetch(`http://${address}:8080/hang`, { signal: AbortSignal.timeout(patienceMs) }).catch(() => {})
    await eventually('the restart', async () => (await restarts('hangs')) >= 1, patienceMs)
    await eventually('answers', async () => (await fetch(`http://${address}:8080/`)).ok, patienceMs)
    assert.match(
      await kubectl('get events --field-selector involvedObject.name=hangs'),
      /Unhealthy.*Liveness probe failed/,
    )
    await hanging
    await kubectl('delete pod hangs --wait --timeout=180s')
  })

  it('an image that is taken away while a container uses it: goes on, and says what is missing later', async () => {
    const reference = await buildProgram(home, { name: 'going', source: `${program}\n// First.` })
    await run(pod('uses', { image: reference }, { terminationGracePeriodSeconds: 1 }))
    await buildProgram(home, { name: 'going', version: '2.0.0', source: `${program}\n// Second.` })
    const policy = join(home.dir, 'newest.json')
    writeFileSync(policy, JSON.stringify(onlyTheNewest))
    await home.fairleadOk(['image', 'prune', '--policy', policy, '--repository', 'going/*', '--apply'])
    const address = await kubectl('get pod uses -o jsonpath={.status.podIP}')
    await eventually('answers', async () => (await fetch(`http://${address}:8080/`)).ok)
    await kubectl('delete pod uses --wait --timeout=180s')
    await kubectl('apply -f -', pod('uses', { image: reference }))
    const reason = 'get pod uses -o jsonpath={.status.containerStatuses[0].state.waiting.reason}'
    await eventually('the reason', async () => /ErrImage|ImagePullBackOff/.test(await kubectl(reason)), patienceMs)
    await kubectl('delete pod uses --wait --timeout=180s')
  })

  it('a runtime that is killed while it makes containers: they are made again', async () => {
    using killer = killRuntimes(home.dir)
    await kubectl('apply -f -', deployment('survivor', 12, {}))
    await eventually('a killed runtime', () => killer.killed >= 3, patienceMs)
    killer.stop()
    await kubectl('rollout status deployment/survivor --timeout=180s')
    await kubectl('delete deployment survivor --wait --timeout=180s')
    await eventually('no pods', async () => (await kubectl('get pods -l app=survivor -o name')) === '', patienceMs)
  })

  // The last: containers keep the time of the machine, which did not jump.
  it('a clock that jumps an hour: nobody is evicted, nothing is started again', async () => {
    await kubectl('apply -f -', deployment('clock', 2, {}))
    await kubectl('rollout status deployment/clock --timeout=180s')
    const before = await podsOf('clock')
    const { pid } = JSON.parse((await home.fairleadOk(['cluster', 'status', '--json'])).stdout)
    process.kill(pid, 'SIGUSR2')
    const renewed = 'get leases -n kube-node-lease -o jsonpath={.items[0].spec.renewTime}'
    const isAhead = async (): Promise<boolean> => Date.parse(await kubectl(renewed)) > Date.now() + 3_000_000
    await eventually('a heartbeat of the new hour', isAhead, patienceMs)
    await kubectl('scale deployment clock --replicas=3')
    await kubectl('rollout status deployment/clock --timeout=180s')
    assert.match(await kubectl('get nodes --no-headers'), /^\S+ +Ready /)
    assert.equal(before.length, 2)
    const now = await podsOf('clock')
    assert.deepEqual(
      before.filter((pod) => !now.includes(pod)),
      [],
    )
    await kubectl('delete deployment clock --wait --timeout=180s')
  })

  async function run(text: string): Promise<void> {
    await kubectl('apply -f -', text)
    const { metadata } = JSON.parse(text)
    await kubectl(`wait --for=condition=Ready pod/${metadata.name} --timeout=180s`)
  }

  async function restarts(name: string): Promise<number> {
    return Number(await kubectl(`get pod ${name} -o jsonpath={.status.containerStatuses[0].restartCount}`))
  }

  /** Uid and restarts of each. */
  async function podsOf(app: string): Promise<string[]> {
    const each = '{range.items[*]}{.metadata.uid}/{.status.containerStatuses[0].restartCount},{end}'
    return (await kubectl(`get pods -l app=${app} -o jsonpath=${each}`)).split(',').filter(Boolean)
  }

  function pod(name: string, container: object, more: object = {}): string {
    const spec = { containers: [{ name: 'main', image, ...container }], ...more }
    return JSON.stringify({ apiVersion: 'v1', kind: 'Pod', metadata: { name }, spec })
  }

  function deployment(app: string, replicas: number, container: object): string {
    const labels = { app }
    const containers = [{ name: 'main', image, ...container }]
    const template = { metadata: { labels }, spec: { terminationGracePeriodSeconds: 1, containers } }
    const spec = { replicas, selector: { matchLabels: labels }, template }
    return JSON.stringify({ apiVersion: 'apps/v1', kind: 'Deployment', metadata: { name: app }, spec })
  }
})

const selection = { tagStatus: 'any', countType: 'imageCountMoreThan', countNumber: 1 }
const onlyTheNewest = { rules: [{ rulePriority: 1, selection, action: { type: 'expire' } }] }
