// Many pods that crash whenever they are started: the API answers, others start, waits grow as kubelets let them, and all of it goes away.
// `FAIRLEAD_CRASHING_PODS=1000` makes it a long run: with as many nodes as take them, 110 pods each. How long things take is printed and not
// judged: on a busy machine all of it takes longer. What is waited for comes, or the test runs into a limit that only a hang reaches.
import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import { after, before, describe, it, type TestContext } from 'node:test'
import { setTimeout as pause } from 'node:timers/promises'
import { connectKube, loadKubeconfig, type KubeClient } from '@fairlead/kube'
import { createInformer, type Informer } from '@fairlead/kube/cache'
import type { Pod } from '@fairlead/kube/types/core-v1'
import { assertNoLeaks, footprintOf } from './support/leaks.ts'
import { createKubectl, eventually, Home, missing, type Kubectl } from './support/machine.ts'
import { buildProgram } from './support/program-image.ts'

const skip = missing(['runc', 'conmon', 'nft', 'ip', 'kubectl'], { root: true })
const crashing = Number(process.env['FAIRLEAD_CRASHING_PODS'] ?? 20)
/** Others have to find room beside them. */
const nodes = Math.ceil((crashing + 20) / 110)
/** A hang, not slowness: a machine as busy as it gets has taken a second per pod. */
const patienceMs = 300_000 + crashing * 3_000
/** The same for one request. */
const answerMs = 60_000

describe(`${crashing} pods that crash`, { skip }, () => {
  let home: Home
  let kubectl: Kubectl
  let client: KubeClient
  let image: string
  let pods: Informer<Pod>
  let asking: Asking
  const ended = new AbortController()

  before(async () => {
    home = new Home()
    const source = "import { createServer } from 'node:http'\ncreateServer((_, answer) => answer.end()).listen(8080)\n"
    image = await buildProgram(home, { name: 'server', source })
    await home.fairleadOk(['cluster', 'start', '--nodes', String(nodes)])
    kubectl = createKubectl(await home.kubeconfig(), home.dir)
    client = connectKube({ kubeconfig: loadKubeconfig({ path: await home.kubeconfig() }) })
    await kubectl('create configmap asked')
    pods = createInformer(client.resource('v1/Pod'), { labelSelector: 'app=crashes', signal: ended.signal })
    await pods.start()
    asking = askOften(client)
  })

  after(async () => {
    ended.abort()
    await asking?.stop()
    await client?.close()
    await home[Symbol.asyncDispose]()
  })

  it('are all started, and started again after longer and longer waits', async (test) => {
    const restarts = followRestarts(pods)
    const begun = performance.now()
    await kubectl('apply -f -', deployment('crashes', crashing, crash))
    await eventually('crash loops', () => count(pods, isInCrashLoop) >= crashing * 0.9, patienceMs)
    test.diagnostic(`${seconds(begun)} s until nine of ten wait in a crash loop`)
    await eventually(
      'third restarts',
      () => restarts.waits.filter(({ restart }) => restart === 3).length > 3,
      patienceMs,
    )
    // Of the kubelet: none before the first restart, then 10 s, doubled each time. Times are told in whole seconds.
    for (const { restart, waitedMs } of restarts.waits) {
      const leastMs = restart === 1 ? 0 : 10_000 * 2 ** (restart - 2)
      assert.ok(waitedMs > leastMs - 1_000, `restart ${restart} after ${waitedMs} ms`)
    }
    assert.match(waitingMessages(pods).join('\n'), /back-off \d+s restarting failed container=main pod=crashes-/)
  })

  it('keep nobody from the API, and no other pod from starting', async (test) => {
    await startHealthy('healthy', test)
    await eventually('gets', () => asking.tookMs.length > 100, patienceMs)
    const sorted = asking.tookMs.toSorted((a, b) => a - b)
    const p99 = sorted[Math.floor(sorted.length * 0.99)] ?? 0
    test.diagnostic(
      `${sorted.length} gets: median ${sorted[sorted.length >> 1]?.toFixed(1)} ms, p99 ${p99.toFixed(1)} ms`,
    )
    assert.deepEqual(asking.failures, [])
  })

  it('do not take more and more memory', async (test) => {
    const { pid } = JSON.parse((await home.fairleadOk(['cluster', 'status', '--json'])).stdout)
    const first = residentMegabytes(pid)
    const started = totalRestarts(pods)
    await eventually('more restarts', () => totalRestarts(pods) > started + crashing / 4, patienceMs)
    const second = residentMegabytes(pid)
    test.diagnostic(`${first} MiB, then ${second} MiB`)
    // What 200 pods that run take is 310 MiB; the rest is what a process of that size does not give back at once.
    assert.ok(second < 350 + crashing, `${second} MiB`)
  })

  it('go away when they are deleted, and others start meanwhile', async (test) => {
    const begun = performance.now()
    await client.resource('apps/v1/Deployment').delete('crashes', { namespace: 'default' })
    await startHealthy('later', test)
    await eventually('pods that are gone', () => pods.list().length === 0, patienceMs)
    test.diagnostic(`${seconds(begun)} s until the last is gone`)
    assert.deepEqual(asking.failures, [])
    // What the cluster leaves when there are many is another matter than what it leaves when there are none.
    await kubectl('apply -f -', deployment('crashes', crashing, crash))
    await eventually('crashes again', () => totalRestarts(pods) > crashing / 4, patienceMs)
  })

  it('are taken away with the cluster', async (test) => {
    await asking.stop()
    const begun = performance.now()
    await home.fairleadOk(['down'], { timeoutMs: patienceMs })
    test.diagnostic(`${seconds(begun)} s`)
    await assertNoLeaks(footprintOf(home.env['FAIRLEAD_HOME'] ?? home.dir))
  })

  async function startHealthy(name: string, test: TestContext): Promise<void> {
    const begun = performance.now()
    await kubectl('apply -f -', deployment(name, 2, { readinessProbe: { httpGet: { path: '/', port: 8080 } } }))
    const deployments = client.resource('apps/v1/Deployment')
    const isReady = async (): Promise<boolean> =>
      (await deployments.get(name, { namespace: 'default' })).status?.readyReplicas === 2
    await eventually(`${name} pods`, isReady, patienceMs)
    test.diagnostic(`${seconds(begun)} s until two others are ready`)
  }

  function deployment(app: string, replicas: number, container: object): string {
    const labels = { app }
    const resources = { requests: { cpu: '1m', memory: '4Mi' } }
    const containers = [{ name: 'main', image, resources, ...container }]
    const template = { metadata: { labels }, spec: { terminationGracePeriodSeconds: 1, containers } }
    const spec = { replicas, selector: { matchLabels: labels }, template }
    return JSON.stringify({ apiVersion: 'apps/v1', kind: 'Deployment', metadata: { name: app }, spec })
  }
})

/** What Node.js says of an option it does not know is said before it begins: as little work as a crash can be. */
const crash = { command: ['node', '--no-such-option'] }

interface Asking {
  readonly tookMs: readonly number[]
  readonly failures: readonly string[]
  stop(): Promise<void>
}

/** Gets one small object ten times a second, as a client that would notice. */
function askOften(client: KubeClient): Asking {
  const tookMs: number[] = []
  const failures: string[] = []
  const ended = new AbortController()
  const work = (async () => {
    while (!ended.signal.aborted) {
      const begun = performance.now()
      await client
        .resource('v1/ConfigMap')
        .get('asked', { namespace: 'default', signal: AbortSignal.timeout(answerMs) })
        .then(
          () => tookMs.push(performance.now() - begun),
          (error: unknown) => failures.push(String(error)),
        )
      await pause(100)
    }
  })()
  return {
    tookMs,
    failures,
    async stop() {
      ended.abort()
      await work
    },
  }
}

interface Restarts {
  /** Which restart, and how long after the end before it: as the API tells of both. */
  readonly waits: readonly { readonly restart: number; readonly waitedMs: number }[]
}

function followRestarts(pods: Informer<Pod>): Restarts {
  const waits: { restart: number; waitedMs: number }[] = []
  const ends = new Map<string, { readonly restart: number; readonly at: number }>()
  pods.on((_event, { metadata, status }) => {
    const { restartCount: restart = 0, lastState, state } = status?.containerStatuses?.[0] ?? {}
    const uid = metadata?.uid ?? ''
    // While the next run is being waited for, the last state is that of the run the count speaks of.
    const run = state?.terminated ?? (isInCrashLoop({ status }) ? lastState?.terminated : undefined)
    const startedAt = state?.running?.startedAt ?? run?.startedAt
    const before = ends.get(uid)
    if (before !== undefined && startedAt !== undefined && restart === before.restart + 1) {
      waits.push({ restart, waitedMs: Date.parse(startedAt) - before.at })
      ends.delete(uid)
    }
    if (run?.finishedAt !== undefined) ends.set(uid, { restart, at: Date.parse(run.finishedAt) })
  })
  return { waits }
}

function waitingMessages(pods: Informer<Pod>): string[] {
  return pods.list().flatMap(({ status }) => status?.containerStatuses?.[0]?.state?.waiting?.message ?? [])
}

function isInCrashLoop({ status }: Pick<Pod, 'status'>): boolean {
  return status?.containerStatuses?.[0]?.state?.waiting?.reason === 'CrashLoopBackOff'
}

function count(pods: Informer<Pod>, matches: (pod: Pod) => boolean): number {
  return pods.list().filter(matches).length
}

function totalRestarts(pods: Informer<Pod>): number {
  return pods.list().reduce((sum, { status }) => sum + (status?.containerStatuses?.[0]?.restartCount ?? 0), 0)
}

function residentMegabytes(pid: number): number {
  const [, kibibytes = '0'] = /VmRSS:\s+(\d+)/.exec(readFileSync(`/proc/${pid}/status`, 'utf8')) ?? []
  return Math.round(Number(kibibytes) / 1024)
}

function seconds(since: number): string {
  return ((performance.now() - since) / 1_000).toFixed(1)
}
