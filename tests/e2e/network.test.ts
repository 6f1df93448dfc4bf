// Network policies and host ports with real containers, driven by the real kubectl.
import assert from 'node:assert/strict'
import { mkdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { after, before, describe, it } from 'node:test'
import { createKubectl, eventually, freePort, Home, missing, type Kubectl } from './support/machine.ts'

const skip = missing(['runc', 'conmon', 'nft', 'ip', 'kubectl'], { root: true })

/** Says its name, and at /to/NAME what another server says. */
const program = `
import { createServer } from 'node:http'
// Policies are asked at the beginning of a connection: none may stay.
const headers = { connection: 'close' }
createServer(async (request, response) => {
  const to = request.url.slice('/to/'.length)
  const ask = () => fetch('http://' + to, { headers, signal: AbortSignal.timeout(1500) }).then((answer) => answer.text())
  response.end(to === '' || !request.url.startsWith('/to/') ? process.env.HOSTNAME : await ask().catch((error) => error.name))
}).listen(80)
process.on('SIGTERM', () => process.exit(0))
`

describe('network', { skip }, () => {
  let home: Home
  let kubectl: Kubectl
  let port: number

  before(async () => {
    home = new Home()
    const image = await buildServer()
    port = await freePort()
    await home.fairleadOk(['cluster', 'start'])
    kubectl = createKubectl(await home.kubeconfig(), home.dir)
    await kubectl('apply -f -', JSON.stringify(server('web', image, port)))
    await kubectl('apply -f -', JSON.stringify(server('db', image)))
    await kubectl('expose pod db --port=80')
    await kubectl('wait pod/web pod/db --for=condition=Ready --timeout=180s')
  })

  after(async () => {
    await home[Symbol.asyncDispose]()
  })

  /** What the pod `web` is told by another server, asked at its host port. */
  async function fromWeb(name = ''): Promise<string> {
    return await (await fetch(`http://127.0.0.1:${port}/to/${name}`)).text()
  }

  it('leads a port of the host to the pod', async () => {
    assert.equal(await eventually('an answer', () => fromWeb()), 'web')
    assert.equal(await eventually('names work', async () => (await fromWeb('db')) === 'db' && 'db'), 'db')
  })

  it('drops what policies forbid, and lets through what they allow', async () => {
    await kubectl('apply -f -', policy('deny', { podSelector: {}, policyTypes: ['Ingress', 'Egress'] }))
    await eventually('it is forbidden', async () => (await fromWeb('db')) === 'TimeoutError')
    const names = { podSelector: {}, policyTypes: ['Egress'], egress: [{ ports: [{ port: 53, protocol: 'UDP' }] }] }
    await kubectl('apply -f -', policy('names', names))
    const app = (name: string): object => ({ podSelector: { matchLabels: { app: name } } })
    const ports = [{ port: 'http' }]
    await kubectl(
      'apply -f -',
      policy('out', { ...app('web'), policyTypes: ['Egress'], egress: [{ to: [app('db')], ports }] }),
    )
    assert.equal(await fromWeb('db'), 'TimeoutError')
    await kubectl('apply -f -', policy('in', { ...app('db'), ingress: [{ from: [app('web')], ports }] }))
    await eventually('it is allowed', async () => (await fromWeb('db')) === 'db')
    await kubectl('delete networkpolicy --all')
  })

  it('gives the port of the host back with the pod', async () => {
    await kubectl('delete pod web')
    await assert.rejects(fromWeb())
  })

  function server(name: string, image: string, hostPort?: number): object {
    const http = { name: 'http', containerPort: 80, ...(hostPort === undefined ? {} : { hostPort }) }
    const containers = [{ name: 'main', image, ports: [http], readinessProbe: { httpGet: { port: 80 } } }]
    const spec = { terminationGracePeriodSeconds: 2, containers }
    return { apiVersion: 'v1', kind: 'Pod', metadata: { name, labels: { app: name } }, spec }
  }

  function policy(name: string, spec: object): string {
    return JSON.stringify({ apiVersion: 'networking.k8s.io/v1', kind: 'NetworkPolicy', metadata: { name }, spec })
  }

  async function buildServer(): Promise<string> {
    const dir = join(home.dir, 'server')
    mkdirSync(dir)
    const about = { name: 'server', version: '1.0.0' }
    const lock = { ...about, lockfileVersion: 3, requires: true, packages: { '': about } }
    writeFileSync(join(dir, 'main.js'), program)
    writeFileSync(join(dir, 'package.json'), JSON.stringify({ ...about, type: 'module', main: 'main.js' }))
    writeFileSync(join(dir, 'package-lock.json'), JSON.stringify(lock))
    const built = JSON.parse((await home.fairleadOk(['build', dir, '--json'])).stdout)
    const first: { reference: string } = Array.isArray(built.images) ? built.images[0] : built
    return first.reference
  }
})
