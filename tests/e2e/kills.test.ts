// What pods run by is killed at random moments of rolling updates, under load: everything comes back, once, and nothing is left behind.
// `FAIRLEAD_CRASH_ROUNDS=20` makes it a long run.
import assert from 'node:assert/strict'
import { after, before, describe, it } from 'node:test'
import { setTimeout as pause } from 'node:timers/promises'
import { containersOf, killOneOf, killRuntimes, monitorsOf } from './support/kills.ts'
import { findLeaks, footprintOf } from './support/leaks.ts'
import { startLoad, type Load } from './support/load.ts'
import { createKubectl, eventually, Home, missing, type Kubectl } from './support/machine.ts'
import { buildProgram } from './support/program-image.ts'

const skip = missing(['runc', 'conmon', 'nft', 'ip', 'kubectl'], { root: true })
const rounds = Number(process.env['FAIRLEAD_CRASH_ROUNDS'] ?? 5)
const replicas = 4
const patienceMs = 120_000
/** A rolling update takes longer than that here. */
const longestWaitMs = 2_000

/** Answers for as long after SIGTERM as it takes until nobody is sent to it any more. */
const program = `
import { createServer } from 'node:http'
const server = createServer((request, response) => response.end('well')).listen(8080)
process.on('SIGTERM', () => setTimeout(() => server.close(() => process.exit(0)), 1500))
`

const victims = ['a runtime', 'a monitor', 'a first process', 'the cluster', 'all monitors'] as const
type Victim = (typeof victims)[number]

describe('kill -9 under load', { skip }, () => {
  let home: Home
  let kubectl: Kubectl
  let load: Load
  /** How many things of each kind the cluster has on the machine while nothing happens. */
  let atRest: Record<string, number>

  before(async () => {
    home = new Home()
    const image = await buildProgram(home, { name: 'well', source: program })
    await home.fairleadOk(['cluster', 'start'])
    kubectl = createKubectl(await home.kubeconfig(), home.dir)
    await kubectl('apply -f -', JSON.stringify(deployment(image)))
    await kubectl('expose deployment well --port=80 --target-port=8080')
    await converged()
    const url = await kubectl('get service well -o jsonpath=http://{.spec.clusterIP}/')
    await eventually('an answer', async () => (await fetch(url)).ok)
    atRest = await tally()
    assert.ok(['monitor', 'mount', 'network namespace'].every((kind) => (atRest[kind] ?? 0) >= replicas))
    load = startLoad({ url, perSecond: 50 })
  })

  after(async () => {
    await load?.[Symbol.asyncDispose]()
    await home[Symbol.asyncDispose]()
  })

  for (let round = 0; round < rounds; round += 1) {
    const victim = victims[round % victims.length] ?? 'a runtime'
    it(`of ${victim}, in the middle of an update (round ${round + 1})`, async (test) => {
      const failed = load.failures.length
      await kubectl('rollout restart deployment/well')
      const waitMs = Math.floor(Math.random() * longestWaitMs)
      test.diagnostic(`${waitMs} ms after the update was asked for`)
      await pause(victim === 'a runtime' ? 0 : waitMs)
      await kill(victim)
      await converged()
      await eventually(
        'as much on the machine as before',
        async () => {
          const { process: processes = 0, ...others } = await tally()
          const { process: processesAtRest = 0, ...othersAtRest } = atRest
          assert.deepEqual(others, othersAtRest)
          // Tools that stay begin when they are needed.
          assert.ok(processes <= processesAtRest, `${processes} processes`)
          return true
        },
        patienceMs,
      )
      const cut = load.failures.slice(failed)
      test.diagnostic(`${cut.length} requests failed`)
      if (victim === 'a runtime') assert.deepEqual(cut, [])
      await answersOnly()
    })
  }

  async function kill(victim: Victim): Promise<void> {
    if (victim === 'a runtime') {
      using killer = killRuntimes(home.dir, 2)
      await eventually('killed runtimes', () => killer.killed === 2, patienceMs)
    }
    if (victim === 'a monitor') await eventually('a monitor', () => killOneOf(monitorsOf(home.dir)))
    if (victim === 'all monitors') for (const pid of monitorsOf(home.dir)) killOneOf([pid])
    if (victim === 'a first process') await eventually('a container', () => killOneOf(containersOf(home.dir)))
    if (victim !== 'the cluster') return
    const { pid } = JSON.parse((await home.fairleadOk(['cluster', 'status', '--json'])).stdout)
    process.kill(pid, 'SIGKILL')
    await home.fairleadOk(['cluster', 'start'])
  }

  /** The pods the Deployment asks for are there, ready, and no others. */
  async function converged(): Promise<void> {
    await kubectl('rollout status deployment/well --timeout=180s')
    await eventually(
      'the pods asked for',
      async () => {
        const { items } = JSON.parse(await kubectl('get pods -l app=well -o json'))
        return items.length === replicas && items.every(isReady)
      },
      patienceMs,
    )
  }

  /** The Service comes to answer every request; the last endpoint that is gone may have been asked a moment ago. */
  async function answersOnly(): Promise<void> {
    let [answered, failed] = [load.answers.length, load.failures.length]
    await eventually(
      'a hundred answers, none of them failed',
      () => {
        if (load.failures.length > failed) [answered, failed] = [load.answers.length, load.failures.length]
        return load.answers.length > answered + 100
      },
      patienceMs,
    )
  }

  async function tally(): Promise<Record<string, number>> {
    const found = await findLeaks(footprintOf(home.env['FAIRLEAD_HOME'] ?? ''))
    const kinds = found.map((line) =>
      line.includes('/conmon ') ? 'monitor' : (/^[a-z ]+?(?= [^a-z]| fl| inet| ip|$)/i.exec(line)?.[0] ?? line),
    )
    const counted = Map.groupBy(kinds, (kind) => kind)
    return Object.fromEntries([...counted].map(([kind, all]) => [kind, all.length]))
  }
})

interface ShownPod {
  readonly metadata: { readonly deletionTimestamp?: string }
  readonly status: { readonly conditions?: readonly { readonly type: string; readonly status: string }[] }
}

function isReady({ metadata, status }: ShownPod): boolean {
  const ready = status.conditions?.find(({ type }) => type === 'Ready')
  return metadata.deletionTimestamp === undefined && ready?.status === 'True'
}

function deployment(image: string): object {
  const labels = { app: 'well' }
  const readinessProbe = { httpGet: { path: '/', port: 8080 }, periodSeconds: 1, timeoutSeconds: 5 }
  const template = {
    metadata: { labels },
    spec: { terminationGracePeriodSeconds: 10, containers: [{ name: 'main', image, readinessProbe }] },
  }
  const spec = { replicas, selector: { matchLabels: labels }, template }
  return { apiVersion: 'apps/v1', kind: 'Deployment', metadata: { name: 'well' }, spec }
}
