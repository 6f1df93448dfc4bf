import assert from 'node:assert/strict'
import { execFileSync } from 'node:child_process'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, before, describe, it } from 'node:test'
import { createKubeClient } from '@fairlead/kube'
import type { KubeClient } from '@fairlead/kube'
import { createApiServer } from '../apiserver/server.ts'
import type { ApiServer } from '../apiserver/server.ts'
import { openStore } from '../storage/store.ts'
import type { Store } from '../storage/store.ts'
import { openPodNetwork } from './pod-network.ts'
import type { PodAttachment, PodNetwork } from './pod-network.ts'
import { dnsAddressOf } from './plan.ts'
import { openServiceNetwork } from './service-network.ts'
import type { ServiceNetwork } from './service-network.ts'
import { eventually, makeService, makeSlice, startNode } from './testing.ts'
import type { Program } from './testing.ts'

const isRoot = process.platform === 'linux' && process.getuid?.() === 0
if (!isRoot && process.env['CI'] === 'true') throw new Error('Cannot run the network tests: they need root on Linux')

const port = 18_181
const server = (name: string): string => `
  import { createServer } from 'node:http'
  createServer((request, response) => response.end('${name}')).listen(${port}, () => console.log('listening'))`
const client = (url: string): string => `console.log(await (await fetch('${url}')).text())`

for (const mode of ['namespaces', 'processes'] as const) {
  const skip = mode === 'namespaces' && !isRoot ? 'network namespaces need root on Linux' : false
  void describe(`service network of ${mode}`, { skip }, () => {
    const dir = mkdtempSync(join(tmpdir(), 'fairlead-services-'))
    const programs: Program[] = []
    const errors: unknown[] = []
    let store: Store
    let api: ApiServer
    let kube: KubeClient
    let pods: PodNetwork
    let network: ServiceNetwork
    let [a, b]: PodAttachment[] = []

    before(async () => {
      pods = await openPodNetwork({ dir, mode })
      store = await openStore({ dir: '', durability: 'memory' })
      api = createApiServer({ store, serviceCidr: pods.plan.serviceCidr })
      kube = createKubeClient({ transport: api.transport({ user: 'test', groups: ['system:masters'] }) })
      const onError = (error: unknown): void => void errors.push(error)
      network = await openServiceNetwork({ client: kube, network: pods, dir, nameServers: [], onError })
      ;[a, b] = await Promise.all(['a', 'b'].map((name) => pods.attach({ uid: name, namespace: 'default', name })))
      for (const [pod, name] of [
        [a, 'a'],
        [b, 'b'],
      ] as const) {
        programs.push(startNode(server(name), { netnsPath: pod?.netnsPath, env: { ...pod?.env } }))
      }
      for (const program of programs) await eventually(() => program.output.includes('listening'))
    })

    after(async () => {
      for (const program of programs) await program[Symbol.asyncDispose]()
      await network?.close()
      await pods?.close({ remove: true })
      await api?.close()
      await store?.close()
      rmSync(dir, { recursive: true })
      assert.deepEqual(errors, [])
      if (isRoot) assert.ok(!execFileSync('ip', ['link']).toString().includes(pods.plan.id))
    })

    async function serve(
      name: string,
      spec: Parameters<typeof makeService>[1],
      pod: PodAttachment | undefined,
    ): Promise<void> {
      await kube.resource('v1/Service').create(makeService(name, spec, 'default'), { namespace: 'default' })
      const slice = makeSlice(name, [{ name: 'http', port, protocol: 'TCP' }], [pod?.ip ?? ''], 'default')
      await kube.resource('discovery.k8s.io/v1/EndpointSlice').create(slice, { namespace: 'default' })
    }
    const fromA = (code: string): Promise<string> =>
      startNode(code, { netnsPath: a?.netnsPath, env: { ...a?.env } }).ended

    void it('makes a Service reachable by name as soon as the API has it', async () => {
      await serve('cart', { ports: [{ name: 'http', port: 80, targetPort: port }] }, b)
      const { spec } = await kube.resource('v1/Service').get('cart', { namespace: 'default' })
      await eventually(async () => (await fromA(client(`http://${spec?.clusterIP}/`))).startsWith('b'))
      const host = mode === 'processes' ? 'cart' : await resolveInPod('cart.default.svc.cluster.local')
      assert.equal(await fromA(client(`http://${host}/`)), 'b\n')
    })

    async function resolveInPod(name: string): Promise<string> {
      const code = `
        import { promises as dns } from 'node:dns'
        const resolver = new dns.Resolver()
        resolver.setServers(['${network.nameServer}'])
        console.log((await resolver.resolve4('${name}'))[0])`
      return (await fromA(code)).trim()
    }

    void it('leads from the host through a load balancer to a pod', async () => {
      const spec = { type: 'LoadBalancer', ports: [{ name: 'http', port: 18_182, targetPort: port }] }
      await serve('web', spec, a)
      await eventually(async () => {
        const { status } = await kube.resource('v1/Service').get('web', { namespace: 'default' })
        return status?.loadBalancer?.ingress?.[0]?.ip === '127.0.0.1'
      })
      const answer = await eventually(async () => (await fetch('http://127.0.0.1:18182/')).text())
      assert.equal(answer, 'a')
    })

    void it('serves UDP through a load balancer where rules pass it on, and says clearly what it does not serve', async () => {
      const ports = [
        { name: 'echo', port: 18_183, protocol: 'UDP' },
        { name: 'other', port: 18_184, protocol: 'SCTP' },
      ]
      await serve('mixed', { type: 'LoadBalancer', ports }, a)
      const { message } = await eventually(async () => {
        const { status } = await kube.resource('v1/Service').get('mixed', { namespace: 'default' })
        return status?.conditions?.find(({ type }) => type === 'LoadBalancerPortsError')
      })
      assert.match(message, /Cannot serve SCTP port 18184/)
      assert.equal(message.includes('UDP port'), mode === 'processes')
    })

    void it('tells pods where names are resolved', async () => {
      if (mode === 'processes') return
      assert.equal(network.nameServer, dnsAddressOf(pods.plan))
      const dns = await eventually(() => kube.resource('v1/Service').get('kube-dns', { namespace: 'kube-system' }))
      assert.equal(dns.spec?.clusterIP, network.nameServer)
      assert.equal(await resolveInPod('kube-dns.kube-system.svc.cluster.local'), network.nameServer)
    })
  })
}
