// Discovery against a real Consul agent, named by CONSUL_BINARY; what the fake of the unit tests answers was compared with it.
import assert from 'node:assert/strict'
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdtempSync, rmSync } from 'node:fs'
import { createServer } from 'node:net'
import type { AddressInfo } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { describe, it } from 'node:test'
import { codeOf } from '../errors.ts'
import { registerInConsul } from './consul-registration.ts'
import { createConsulSource } from './consul.ts'
import type { Endpoint } from './endpoint.ts'
import type { ConsulQuery } from './target.ts'

const binary = process.env['CONSUL_BINARY']
const master = '7f2c1d4e-0000-4000-8000-00000000f00d'

// Asked by hand and not a test otherwise: there is no package of Consul that set-up could install.
if (binary !== undefined)
  describe('Consul', () => {
    it(
      'tells of instances that register, change their health and go, and of a restart',
      { timeout: 60_000 },
      async () => {
        await using agent = await startAgent()
        const common = { address: agent.url, env: {} }
        await using heard = listen(agent.url, undefined)
        await using tagged = listen(agent.url, undefined, ['v2'])
        let isWell = true
        const check = { kind: 'ttl', ttlMs: 3000, isWell: () => isWell } as const
        const one = await registerInConsul({ ...common, name: 'orders', id: 'o1', host: '127.0.0.1', port: 81, check })
        const two = await registerInConsul({
          ...common,
          name: 'orders',
          id: 'o2',
          host: '127.0.0.1',
          port: 82,
          tags: ['v2', 'eu'],
          check: { kind: 'ttl', ttlMs: 3000 },
        })
        await seen(heard, '81 82')
        await seen(tagged, '82')
        isWell = false
        await seen(heard, '82')
        isWell = true
        await seen(heard, '81 82')
        await agent.restart()
        // An agent in development mode keeps nothing: both are told to it again.
        await seen(heard, '81 82', 30_000)
        await one.deregister()
        await seen(heard, '82')
        await two.deregister()
        await seen(heard, '')
        assert.equal(two.health().status, 'up')
      },
    )

    it('believes tokens only', { timeout: 60_000 }, async () => {
      await using agent = await startAgent({ acl: true })
      const options = { name: 'orders', id: 'o1', host: '127.0.0.1', port: 81, address: agent.url, env: {} }
      await assert.rejects(registerInConsul(options), {
        code: 'FAIRLEAD_SERVICE_REGISTRATION',
        message: /Consul answered 403/,
      })
      await using wrong = listen(agent.url, 'planted-wrong-token')
      await using heard = listen(agent.url, master)
      await using registration = await registerInConsul({ ...options, token: master })
      await seen(heard, '81')
      assert.equal(codeOf(wrong.errors[0]), 'FAIRLEAD_SERVICE_DISCOVERY')
      assert.match(wrong.errors[0]?.message ?? '', /Consul answered 403/)
      assert.equal(registration.health().status, 'up')
    })
  })

interface Heard extends AsyncDisposable {
  ports: string
  readonly errors: Error[]
}

function listen(address: string, token: string | undefined, tags: readonly string[] = []): Heard {
  const query: ConsulQuery = { tags, datacenter: undefined, namespace: undefined }
  const heard = { ports: '-', errors: [] as Error[] }
  const subscription = createConsulSource(
    { service: 'orders', query },
    { address, token, env: {}, minRefreshMs: 50 },
  ).subscribe({
    snapshot(endpoints: readonly Endpoint[]) {
      heard.ports = endpoints
        .map(({ port }) => port)
        .toSorted((a, b) => a - b)
        .join(' ')
    },
    error: (error) => void heard.errors.push(error as Error),
  })
  return Object.assign(heard, { [Symbol.asyncDispose]: async () => subscription.close() })
}

async function seen(heard: Heard, ports: string, withinMs: number = 30_000): Promise<void> {
  const until = Date.now() + withinMs
  while (heard.ports !== ports) {
    if (Date.now() > until) throw new Error(`waited in vain for "${ports}", there is "${heard.ports}"`)
    await new Promise((resolve) => setTimeout(resolve, 20))
  }
}

interface Agent extends AsyncDisposable {
  readonly url: string
  restart(): Promise<void>
}

async function startAgent({ acl = false } = {}): Promise<Agent> {
  const folder = mkdtempSync(join(tmpdir(), 'fairlead-consul-'))
  const [http, server, lan, wan] = await Promise.all([freePort(), freePort(), freePort(), freePort()])
  const url = `http://127.0.0.1:${http}`
  const rules = { enabled: acl, default_policy: 'deny', tokens: { initial_management: master, agent: master } }
  const run = async (): Promise<() => Promise<void>> => {
    const ports = [`-http-port=${http}`, `-server-port=${server}`, `-serf-lan-port=${lan}`, `-serf-wan-port=${wan}`]
    const off = ['-dns-port=-1', '-grpc-port=-1', '-grpc-tls-port=-1']
    const more = ['-bind=127.0.0.1', '-client=127.0.0.1', `-hcl=${acl ? toHcl(rules) : 'disable_update_check = true'}`]
    const child = spawn(binary ?? '', ['agent', '-dev', ...ports, ...off, ...more], { cwd: folder, stdio: 'ignore' })
    const headers = { 'x-consul-token': master }
    const isLed = (): Promise<boolean> =>
      fetch(`${url}/v1/catalog/nodes`, { headers }).then(
        async (answer) => answer.ok && (await answer.text()).includes('127.0.0.1'),
        () => false,
      )
    for (const until = Date.now() + 60_000; !(await isLed());) {
      if (Date.now() > until || child.exitCode !== null) throw new Error('Consul does not come up')
      await new Promise((resolve) => setTimeout(resolve, 50))
    }
    return async () => {
      const ended = once(child, 'exit')
      child.kill('SIGKILL')
      await ended
    }
  }
  let stop = await run()
  return {
    url,
    async restart() {
      await stop()
      stop = await run()
    },
    async [Symbol.asyncDispose]() {
      await stop()
      rmSync(folder, { recursive: true })
    },
  }
}

function toHcl(rules: { readonly tokens: Readonly<Record<string, string>> }): string {
  const tokens = Object.entries(rules.tokens).map(([name, token]) => `${name} = "${token}"`)
  return `acl { enabled = true, default_policy = "deny", tokens { ${tokens.join(', ')} } }`
}

async function freePort(): Promise<number> {
  const server = createServer()
  await new Promise<void>((resolve) => void server.listen(0, '127.0.0.1', resolve))
  const { port } = server.address() as AddressInfo
  await new Promise((resolve) => server.close(resolve))
  return port
}
