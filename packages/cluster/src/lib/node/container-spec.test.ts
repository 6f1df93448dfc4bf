import assert from 'node:assert/strict'
import { mkdir, mkdtemp, rm, symlink } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { describe, it } from 'node:test'
import type { Container, Pod } from '@fairlead/kube/types/core-v1'
import type { ResolvedImage } from '@fairlead/oci/layout'

import { createContainerSpec } from './container-spec.ts'
import { hostnameOf, renderHostNetworkHosts, renderHosts, renderResolvConf } from './name-files.ts'
import { capabilitiesOf } from './security.ts'

const held = ['CHOWN', 'KILL', 'NET_ADMIN', 'NET_BIND_SERVICE', 'SYS_ADMIN']
/** What matters here of an image: whom it runs as. */
const image = (user: string): ResolvedImage => ({ config: { config: { User: user } } }) as unknown as ResolvedImage

function create(
  container: Partial<Container>,
  options: { pod?: Pod; user?: string; volumes?: ReadonlyMap<string, string> } = {},
): ReturnType<typeof createContainerSpec> {
  const whole = { name: 'app', ...container }
  return createContainerSpec({
    id: 'i',
    pod: { metadata: { name: 'web' }, spec: { containers: [whole], ...options.pod?.spec } },
    container: whole,
    image: image(options.user ?? '65532'),
    env: { NAME: 'web' },
    hostname: 'web',
    place: { podIp: '', hostIp: '', nodeName: '', cpus: 2, memoryBytes: 1e9 },
    volumes: options.volumes ?? new Map(),
    files: new Map([['/etc/hosts', '/pod/hosts']]),
    terminationLog: '/pod/termination',
    logPath: '/log',
    cgroupPath: '/c',
    seccompDir: '/nonexistent',
  })
}

describe('createContainerSpec', () => {
  it('expands variables in command and arguments', async () => {
    const { command, args } = await create({ command: ['$(NAME)'], args: ['$(NAME)/$(OTHER)'] })
    assert.deepEqual([command, args], [['web'], ['web/$(OTHER)']])
  })

  const users: readonly { name: string; container: Partial<Container>; image: string; user: string }[] = [
    { name: 'the image’s user', container: {}, image: 'app', user: 'app' },
    { name: 'another user', container: { securityContext: { runAsUser: 5 } }, image: 'app', user: '5' },
    {
      name: 'another user and group',
      container: { securityContext: { runAsUser: 5, runAsGroup: 6 } },
      image: '',
      user: '5:6',
    },
    { name: 'another group', container: { securityContext: { runAsGroup: 6 } }, image: '7:8', user: '7:6' },
  ]
  for (const { name, container, image: own, user } of users) {
    it(`runs as ${name}`, async () => assert.equal((await create(container, { user: own })).user, user))
  }

  for (const user of ['', 'root', '0:0', 'app']) {
    it(`refuses to run as "${user}" when that must not be root`, () =>
      assert.rejects(create({ securityContext: { runAsNonRoot: true } }, { user }), {
        code: 'FAIRLEAD_CLUSTER_POD_CONFIG',
      }))
  }

  it('mounts outer paths first, and its own file over the pod’s', async () => {
    const volumes = new Map([['v', '/volumes/v']])
    const { mounts = [] } = await create(
      {
        volumeMounts: [
          { name: 'v', mountPath: '/data/deep' },
          { name: 'v', mountPath: '/data' },
          { name: 'v', mountPath: '/etc/hosts' },
        ],
      },
      { volumes },
    )
    assert.deepEqual(
      mounts.map(({ destination, source }) => [destination, source]),
      [
        ['/data', '/volumes/v'],
        ['/data/deep', '/volumes/v'],
        ['/etc/hosts', '/volumes/v'],
        ['/dev/termination-log', '/pod/termination'],
      ],
    )
  })

  it('does not let a subPath lead out of its volume', async () => {
    const dir = await mkdtemp(join(tmpdir(), 'fairlead-spec-'))
    try {
      await mkdir(join(dir, 'v'))
      await symlink('/etc', join(dir, 'v/out'))
      const mount = (subPath: string): Promise<unknown> =>
        create(
          { volumeMounts: [{ name: 'v', mountPath: '/m', subPath }] },
          { volumes: new Map([['v', join(dir, 'v')]]) },
        )
      for (const subPath of ['../x', '/etc', 'out', 'out/passwd', 'a/../../b']) {
        await assert.rejects(mount(subPath), { code: 'FAIRLEAD_CLUSTER_POD_CONFIG' })
      }
      await mount('in/side')
    } finally {
      await rm(dir, { recursive: true, force: true })
    }
  })
})

describe('capabilitiesOf', () => {
  const cases: readonly { name: string; capabilities: { add?: string[]; drop?: string[] }; expected: string[] }[] = [
    { name: 'the usual ones', capabilities: {}, expected: ['CHOWN', 'KILL', 'NET_BIND_SERVICE'] },
    { name: 'none', capabilities: { drop: ['ALL'] }, expected: [] },
    { name: 'one only', capabilities: { drop: ['ALL'], add: ['NET_BIND_SERVICE'] }, expected: ['NET_BIND_SERVICE'] },
    {
      name: 'one more, by its long name',
      capabilities: { add: ['CAP_NET_ADMIN'] },
      expected: ['CHOWN', 'KILL', 'NET_ADMIN', 'NET_BIND_SERVICE'],
    },
    { name: 'all this process holds', capabilities: { add: ['ALL'] }, expected: held },
    { name: 'all but one', capabilities: { add: ['ALL'], drop: ['SYS_ADMIN'] }, expected: held.slice(0, -1) },
  ]
  for (const { name, capabilities, expected } of cases) {
    it(`gives ${name}`, () => {
      const found = capabilitiesOf({ name: 'app', securityContext: { capabilities } }, held)
      assert.deepEqual(found.toSorted(), expected.map((capability) => `CAP_${capability}`).toSorted())
    })
  }
})

describe('renderResolvConf', () => {
  const host = 'nameserver 9.9.9.9\nsearch home\noptions edns0\n'
  const cases: readonly { name: string; spec: Pod['spec']; text: string }[] = [
    {
      name: 'the cluster first',
      spec: { containers: [] },
      text: 'nameserver 10.96.0.10\nsearch shop.svc.cluster.local svc.cluster.local cluster.local home\noptions ndots:5\n',
    },
    { name: 'the machine’s own', spec: { containers: [], dnsPolicy: 'Default' }, text: host },
    { name: 'the machine’s own on its network', spec: { containers: [], hostNetwork: true }, text: host },
    {
      name: 'what the pod says alone',
      spec: {
        containers: [],
        dnsPolicy: 'None',
        dnsConfig: { nameservers: ['1.1.1.1'], options: [{ name: 'ndots', value: '2' }] },
      },
      text: 'nameserver 1.1.1.1\noptions ndots:2\n',
    },
    {
      name: 'what the pod says besides',
      spec: { containers: [], dnsConfig: { searches: ['own'], options: [{ name: 'ndots', value: '1' }] } },
      text: 'nameserver 10.96.0.10\nsearch shop.svc.cluster.local svc.cluster.local cluster.local home own\noptions ndots:1\n',
    },
  ]
  for (const { name, spec, text } of cases) {
    it(`gives ${name}`, () =>
      assert.equal(
        renderResolvConf({ metadata: { namespace: 'shop' }, spec }, '10.96.0.10', 'cluster.local', host),
        text,
      ))
  }
})

describe('renderHostNetworkHosts', () => {
  it('is that of the node with the aliases of the pod', () => {
    const hostAliases = [{ ip: '10.1.1.1', hostnames: ['a', 'b'] }]
    const text = renderHostNetworkHosts(
      { spec: { containers: [], hostNetwork: true, hostAliases } },
      '127.0.0.1 localhost\n',
    )
    assert.equal(text, '# Kubernetes-managed hosts file (host network).\n127.0.0.1 localhost\n10.1.1.1\ta\tb\n')
  })
})

describe('renderHosts', () => {
  it('names the pod, by its full name where it has a subdomain', () => {
    const pod: Pod = {
      metadata: { name: 'db-0', namespace: 'shop' },
      spec: { containers: [], subdomain: 'db', hostAliases: [{ ip: '1.2.3.4', hostnames: ['x', 'y'] }] },
    }
    const text = renderHosts(pod, '10.0.0.2', hostnameOf(pod, 'node'), 'cluster.local')
    assert.match(text, /^10\.0\.0\.2\tdb-0\.db\.shop\.svc\.cluster\.local db-0$/m)
    assert.match(text, /^1\.2\.3\.4\tx\ty$/m)
  })
})
