import assert from 'node:assert/strict'
import { mkdtempDisposable } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { describe, it } from 'node:test'
import { openProcesses } from './processes.ts'

describe('openProcesses', () => {
  for (const [platform, count] of [
    ['linux', 2],
    ['darwin', 1],
  ] as const) {
    it(`gives two pods ${count === 2 ? 'an address each' : 'the one loopback address'} on ${platform}, also after a restart`, async () => {
      await using dir = await mkdtempDisposable(join(tmpdir(), 'processes-'))
      const network = await openProcesses(dir.path, { dir: dir.path }, undefined, platform)
      const pods = ['a', 'b'].map((name) => ({ uid: name, namespace: 'shop', name }))
      const places = await Promise.all(pods.map((pod) => network.attach(pod)))
      assert.equal(new Set(places.map(({ ip }) => ip)).size, count)
      for (const { ip } of places) assert.match(ip, /^127\./)
      await network.close()
      const again = await openProcesses(dir.path, { dir: dir.path }, undefined, platform)
      assert.equal((await again.attach({ uid: 'b', namespace: 'shop', name: 'b' })).ip, places[1]?.ip)
      await again.detach('a')
      assert.deepEqual(
        again.attached().map(({ uid }) => uid),
        ['b'],
      )
      await again.close({ remove: true })
    })
  }
})
