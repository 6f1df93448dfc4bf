import assert from 'node:assert/strict'
import { mkdirSync, mkdtempDisposableSync, symlinkSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { describe, it } from 'node:test'

import { findCommand } from './command.ts'
import { createRuntimeConfig } from './config.ts'
import type { ContainerMount, RuntimeConfig } from './config.ts'
import { trimMounts } from './trimmed-mounts.ts'

const image = { os: 'linux', architecture: 'amd64', rootfs: { type: 'layers', diff_ids: [] } } as const
const command = ['/usr/sbin/runc', '--root=/run/x']
const skip = (await findCommand('unshare')) === undefined && 'needs unshare'

/** A folder of network namespaces, as far as their names go. */
function openNamespaces(count: number): Disposable & { readonly folder: string; readonly own: string } {
  const root = mkdtempDisposableSync(join(tmpdir(), 'fairlead-trimmed-'))
  const folder = join(root.path, 'netns')
  mkdirSync(folder)
  for (let number = 0; number < count; number += 1) writeFileSync(join(folder, `n${number}`), '')
  return { folder, own: join(folder, 'n0'), [Symbol.dispose]: () => root.remove() }
}

function configOf(networkNamespace: string | undefined, mounts: readonly ContainerMount[] = []): RuntimeConfig {
  return createRuntimeConfig(image, {
    rootDir: '/r',
    user: { uid: 1, gid: 1, additionalGids: [] },
    networkNamespace,
    mounts,
  })
}

function networkOf({ linux }: RuntimeConfig): string | undefined {
  return linux.namespaces.find(({ type }) => type === 'network')?.path
}

describe('trimMounts', { skip }, () => {
  it('takes many namespaces out of sight, and finds the own one through a process that sees it', async () => {
    using namespaces = openNamespaces(100)
    const config = configOf(namespaces.own)
    const trimmed = await trimMounts({ command, config }, 42)
    assert.match(trimmed.command[0] ?? '', /\/unshare$/)
    assert.deepEqual(trimmed.command.slice(-3), [namespaces.folder, ...command])
    assert.equal(networkOf(trimmed.config), `/proc/42/root${namespaces.own}`)
    assert.deepEqual({ ...trimmed.config, linux: config.linux }, config)
  })

  it('leaves a call as it is when there are few, or it joins none', async () => {
    using namespaces = openNamespaces(10)
    for (const own of [namespaces.own, undefined, 'host', '/nowhere/at/all']) {
      const call = { command, config: configOf(own) }
      assert.equal(await trimMounts(call), call, own)
    }
  })

  it('leaves a call as it is when a mount shows the namespaces, or mounts to come', async () => {
    using namespaces = openNamespaces(100)
    const { folder, own } = namespaces
    const link = join(dirname(folder), 'link')
    symlinkSync(folder, link)
    const mounts: readonly ContainerMount[] = [
      { destination: '/a', source: folder },
      { destination: '/a', source: own },
      { destination: '/a', source: dirname(folder) },
      { destination: '/a', source: '/' },
      { destination: '/a', source: link },
      { destination: '/a', source: '/nowhere', propagation: 'rslave' },
      { destination: '/a', source: '/nowhere', propagation: 'rshared' },
    ]
    for (const mount of mounts) {
      const call = { command, config: configOf(own, [mount]) }
      assert.equal(await trimMounts(call), call, JSON.stringify(mount))
    }
    const other = await trimMounts({ command, config: configOf(own, [{ destination: '/a', source: '/nowhere' }]) })
    assert.notEqual(other.command, command)
  })
})
