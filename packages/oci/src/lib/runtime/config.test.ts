import assert from 'node:assert/strict'
import { describe, it } from 'node:test'

import type { ImageConfig } from '../spec/image.ts'
import { commandLine, createRuntimeConfig, environment } from './config.ts'
import type { RuntimeConfigOptions } from './config.ts'
import { chainIdOf } from './layer-cache.ts'
import { parseLimits } from './limits.ts'
import { createSeccompProfile } from './seccomp.ts'
import { resolveUser } from './users.ts'

const image: ImageConfig = {
  architecture: 'amd64',
  os: 'linux',
  config: { Entrypoint: ['/node'], Cmd: ['main.js'], Env: ['A=1', 'B=x=y', 'C'], WorkingDir: '/app' },
  rootfs: { type: 'layers', diff_ids: [] },
}
const user = { uid: 7, gid: 8, additionalGids: [9] }

function create(options: Partial<RuntimeConfigOptions> = {}): ReturnType<typeof createRuntimeConfig> {
  return createRuntimeConfig(image, { rootDir: '/r', user, ...options })
}

describe('createRuntimeConfig', () => {
  it('gives the least rights unless asked for more', () => {
    const { process, linux, root } = create()
    assert.deepEqual(Object.values(process.capabilities).flat(), [])
    assert.equal(process.noNewPrivileges, true)
    assert.equal(root.readonly, false)
    assert.deepEqual(linux.namespaces.map(({ type }) => type).toSorted(), [
      'cgroup',
      'ipc',
      'mount',
      'network',
      'pid',
      'uts',
    ])
    assert.ok(linux.seccomp)
    assert.ok(linux.maskedPaths.includes('/proc/kcore'))
  })

  it('lifts everything for a privileged container but what its capabilities say', () => {
    const { linux, process } = create({ security: { privileged: true, capabilities: ['CAP_SYS_ADMIN'] } })
    assert.equal(linux.seccomp, undefined)
    assert.deepEqual(linux.maskedPaths, [])
    assert.deepEqual(process.capabilities.effective, ['CAP_SYS_ADMIN'])
  })

  it('joins a network namespace, or stays in that of the host', () => {
    const joined = create({ networkNamespace: '/run/netns/x' }).linux.namespaces
    assert.deepEqual(
      joined.find(({ type }) => type === 'network'),
      { type: 'network', path: '/run/netns/x' },
    )
    assert.equal(
      create({ networkNamespace: 'host' }).linux.namespaces.some(({ type }) => type === 'network'),
      false,
    )
  })

  it('turns limits into cgroup settings, and lowers rlimits to what this process may give', () => {
    const { linux, process } = create({
      resources: { memoryBytes: 1e8, cpuLimit: 0.5, cpuShares: 512, pids: 50 },
      rlimits: { RLIMIT_NOFILE: 65_536, RLIMIT_CORE: 0 },
      hardLimits: { RLIMIT_NOFILE: 20_000 },
    })
    assert.deepEqual(linux.resources['memory'], { limit: 1e8, swap: 1e8 })
    assert.deepEqual(linux.resources['cpu'], { shares: 512, quota: 50_000, period: 100_000 })
    assert.deepEqual(linux.resources['pids'], { limit: 50 })
    assert.deepEqual(process.rlimits, [
      { type: 'RLIMIT_NOFILE', hard: 20_000, soft: 20_000 },
      { type: 'RLIMIT_CORE', hard: 0, soft: 0 },
    ])
  })
})

describe('commandLine', () => {
  const cases: readonly { name: string; options: { command?: string[]; args?: string[] }; line: string[] }[] = [
    { name: 'is the image’s own', options: {}, line: ['/node', 'main.js'] },
    { name: 'takes other arguments', options: { args: ['x'] }, line: ['/node', 'x'] },
    { name: 'drops the image’s arguments with its entrypoint', options: { command: ['sh'] }, line: ['sh'] },
    { name: 'takes both', options: { command: ['sh'], args: ['-c'] }, line: ['sh', '-c'] },
  ]
  for (const { name, options, line } of cases) it(name, () => assert.deepEqual(commandLine(image, options), line))
})

describe('environment', () => {
  it('puts what is given over the image’s, and fills in PATH and HOME', () => {
    const env = environment(image, { A: '2' }, '/home')
    assert.deepEqual({ ...env, PATH: '' }, { PATH: '', HOME: '/home', A: '2', B: 'x=y', C: '' })
    assert.match(env['PATH'] ?? '', /\/usr\/bin/)
  })
})

describe('createSeccompProfile', () => {
  const named = (capabilities: string[], name: string): string[] =>
    createSeccompProfile(capabilities)
      .syscalls.filter(({ names }) => names.includes(name))
      .map(({ action }) => action)

  it('refuses what needs a capability that is not held', () => {
    assert.deepEqual(named([], 'mount'), ['SCMP_ACT_ERRNO'])
    assert.deepEqual(named(['CAP_SYS_ADMIN'], 'mount'), ['SCMP_ACT_ALLOW'])
    assert.deepEqual(named([], 'socket'), ['SCMP_ACT_ALLOW'])
  })

  it('names each call once, or with different arguments', () => {
    const { syscalls } = createSeccompProfile([])
    const plain = syscalls.filter(({ args }) => args === undefined).flatMap(({ names }) => names)
    assert.equal(new Set(plain).size, plain.length)
  })
})

describe('resolveUser', () => {
  const files = {
    passwd: 'root:x:0:0::/root:/bin/sh\napp:x:7:8::/srv:/bin/sh\n',
    group: 'root:x:0:\napp:x:8:\nextra:x:9:app\n',
  }
  const cases: readonly { text: string; ids: readonly [number, number, readonly number[]] }[] = [
    { text: '', ids: [0, 0, []] },
    { text: 'app', ids: [7, 8, [9]] },
    { text: '7', ids: [7, 8, [9]] },
    { text: 'app:extra', ids: [7, 9, []] },
    { text: '65532:65532', ids: [65_532, 65_532, []] },
    { text: '1000', ids: [1000, 0, []] },
  ]
  for (const { text, ids } of cases) {
    it(`resolves "${text}"`, () => {
      const { uid, gid, additionalGids } = resolveUser(text, files)
      assert.deepEqual([uid, gid, additionalGids], ids)
    })
  }
  for (const text of ['nobody', 'app:nogroup', '99999999999']) {
    it(`refuses "${text}"`, () => assert.throws(() => resolveUser(text, files), { code: 'FAIRLEAD_OCI_USER' }))
  }
})

describe('chainIdOf', () => {
  it('is the layer’s own for one, and a digest of digests for more', () => {
    const [a, b] = [`sha256:${'a'.repeat(64)}`, `sha256:${'b'.repeat(64)}`] as const
    assert.equal(chainIdOf([a]), a)
    assert.match(chainIdOf([a, b]), /^sha256:[0-9a-f]{64}$/)
    assert.notEqual(chainIdOf([a, b]), chainIdOf([b, a]))
  })
})

describe('parseLimits', () => {
  it('reads hard limits and leaves out what is unlimited', () => {
    const text = [
      'Limit                     Soft Limit           Hard Limit           Units     ',
      'Max open files            1024                 20000                files     ',
      'Max processes             unlimited            unlimited            processes ',
    ].join('\n')
    assert.deepEqual(parseLimits(text), { RLIMIT_NOFILE: 20_000 })
  })
})
