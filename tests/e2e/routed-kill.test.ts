// Services with routes do not depend on the gateway: while the cluster's process is away, pods reach them as without routes.
import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { after, before, describe, it } from 'node:test'
import { createKubectl, eventually, Home, missing, repository, type Kubectl } from './support/machine.ts'
import { buildProgram } from './support/program-image.ts'

const skip = missing(['runc', 'conmon', 'nft', 'ip', 'kubectl'], { root: true })
const patienceMs = 60_000

interface Report {
  readonly answered: number
  /** How many of them came by way of the gateway. */
  readonly routed: number
  readonly failures: readonly { readonly beganAt: number; readonly code: string }[]
}

describe('a routed Service over kill -9 of the cluster process', { skip }, () => {
  let home: Home
  let kubectl: Kubectl
  let loadAddress = ''

  before(async () => {
    home = new Home()
    const images = {
      v1: await buildProgram(home, { name: 'go-app-v1', source: server }),
      load: await buildProgram(home, { name: 'load', source: load }),
    }
    await home.fairleadOk(['cluster', 'start'])
    kubectl = createKubectl(await home.kubeconfig(), home.dir)
    const apps = readFileSync(join(repository, 'tests', 'e2e', 'testdata', 'gateway', 'apps.yaml'), 'utf8')
    await kubectl('apply -f -', apps.replaceAll(/(image: ).*/g, `$1${images.v1}`))
    const canary = readFileSync(join(repository, 'tests', 'e2e', 'testdata', 'chapters', 'canary.yaml'), 'utf8')
    await kubectl('apply -f -', canary)
    await kubectl('rollout status deployment/go-app-v1 --timeout=180s')
    await kubectl('rollout status deployment/go-app-v2 --timeout=180s')
    await kubectl(`run load --image=${images.load} --restart=Never`)
    await kubectl('wait --for=condition=Ready pod/load --timeout=180s')
    loadAddress = await kubectl('get pod load -o jsonpath={.status.podIP}')
    await eventually('the first answers', async () => (await report()).answered > 0, patienceMs)
  })

  after(async () => {
    await home[Symbol.asyncDispose]()
  })

  const report = async (): Promise<Report> =>
    (await (await fetch(`http://${loadAddress}:8080/`, { signal: AbortSignal.timeout(10_000) })).json()) as Report

  const progress = async (what: string, by: (now: Report, before: Report) => boolean): Promise<Report> => {
    const before = await report()
    let now = before
    await eventually(what, async () => by((now = await report()), before), patienceMs)
    return now
  }

  it('fails no request of a pod that begins while the process is away or comes back', async (test) => {
    await progress('answers by the gateway', (now, then) => now.routed > then.routed + 200)
    assert.deepEqual((await report()).failures, [])
    const { pid } = JSON.parse((await home.fairleadOk(['cluster', 'status', '--json'])).stdout)
    process.kill(pid, 'SIGKILL')
    await eventually('the end of the process', () => !isAlive(pid), patienceMs)
    const goneAt = Date.now()
    const away = await progress('answers of endpoints', (now, then) => now.answered > then.answered + 500)
    assert.ok(away.answered - away.routed > 500, JSON.stringify(away))
    await home.fairleadOk(['cluster', 'start'])
    const back = await progress('answers by the gateway again', (now, then) => now.routed > then.routed + 200)
    const { answered, routed, failures } = back
    test.diagnostic(`${answered} answers, ${routed} by the gateway, failed with it: ${failures.length}`)
    const late = back.failures.filter(({ beganAt }) => beganAt > goneAt)
    assert.deepEqual(late, [], `the process was gone at ${goneAt}`)
    // Requests that were under way in the gateway went with it: one for each client, and another where a new connection still found its listener.
    assert.ok(back.failures.length <= 2 * clients, JSON.stringify(back.failures))
    assert.ok(!back.failures.some(({ code }) => code === 'ECONNREFUSED'), JSON.stringify(back.failures))
  })
})

function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0)
    return true
  } catch {
    return false
  }
}

/** Tells whether it was asked by the gateway. */
const server = `
import { createServer } from 'node:http'
createServer(({ headers }, response) => response.end(headers['x-request-id'] === undefined ? 'plain' : 'routed')).listen(8080)
`

const clients = 8

/** Asks an address, as names are answered by the cluster's process: without a pause, half of its clients over new connections and half over kept ones, and tells what came of it. */
const load = `
import { Agent, createServer, request } from 'node:http'
const seen = { answered: 0, routed: 0, failures: [] }
createServer((_, response) => response.end(JSON.stringify(seen))).listen(8080)
const kept = new Agent({ keepAlive: true })
const ask = (agent) => new Promise((resolve) => {
  const beganAt = Date.now()
  const fail = (code) => resolve(void seen.failures.push({ beganAt, code }))
  const sent = request('http://' + process.env.GO_APP_SERVICE_HOST, { agent, timeout: 20_000 }, (response) => {
    let body = ''
    response.on('data', (text) => (body += text)).on('error', ({ code }) => fail(code)).on('end', () => {
      if (response.statusCode !== 200) return fail(String(response.statusCode))
      seen.answered++
      if (body === 'routed') seen.routed++
      setTimeout(resolve, 2)
    })
  })
  sent.on('timeout', () => sent.destroy(Object.assign(new Error('late'), { code: 'TIMEOUT' }))).on('error', ({ code }) => fail(code)).end()
})
for (let client = 0; client < ${clients}; client++) {
  void (async () => {
    for (;;) await ask(client % 2 === 0 ? kept : false)
  })()
}
`
