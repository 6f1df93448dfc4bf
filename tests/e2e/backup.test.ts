// A cluster is saved while it is written to, and goes back to what was saved.
import assert from 'node:assert/strict'
import { existsSync, readdirSync, readFileSync, statSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { after, before, describe, it } from 'node:test'
import { connectKube, loadKubeconfig, type KubeClient } from '@fairlead/kube'
import { Home } from './support/machine.ts'

const start = ['cluster', 'start', '--runtime', 'process', '--no-registry']

describe('cluster backup and restore', { timeout: 600_000 }, () => {
  let home: Home
  let file: string
  let revision: string | undefined

  before(async () => {
    home = new Home()
    file = join(home.dir, 'saved.backup')
    await home.fairleadOk(start)
  })

  after(async () => {
    await home[Symbol.asyncDispose]()
  })

  async function connect(): Promise<KubeClient> {
    return connectKube({ kubeconfig: loadKubeconfig({ path: await home.kubeconfig() }) })
  }

  async function names(client: KubeClient): Promise<string[]> {
    const { items } = await client.resource('v1/ConfigMap').list({ namespace: 'default' })
    return items.map((item) => item.metadata?.name ?? '').filter((name) => name.startsWith('write-'))
  }

  async function create(client: KubeClient, number: number): Promise<void> {
    const metadata = { name: `write-${String(number).padStart(5, '0')}` }
    await client
      .resource('v1/ConfigMap')
      .create({ metadata, data: { number: String(number) } }, { namespace: 'default' })
  }

  it('saves a running cluster as it is at one moment, for its user only', async () => {
    const client = await connect()
    const saved = new AbortController()
    let made = 0
    const writing = (async () => {
      while (!saved.signal.aborted || made < 50) await create(client, (made += 1))
    })()
    const { stdout } = await home.fairleadOk(['cluster', 'backup', file, '--json'])
    saved.abort()
    await writing
    assert.equal(JSON.parse(stdout).file, file)
    assert.ok(JSON.parse(stdout).objects > 50)
    assert.equal(statSync(file).mode & 0o777, 0o600)
    await client.resource('v1/ConfigMap').delete('write-00001', { namespace: 'default' })
    const list = await client.resource('v1/ConfigMap').list({ namespace: 'default' })
    revision = list.metadata?.resourceVersion
  })

  it('does not replace a file, and leaves none behind that is not whole', async () => {
    const again = await home.fairlead(['cluster', 'backup', file])
    assert.equal(again.code, 2)
    assert.match(again.stderr, /it is there already/)
    const absent = await home.fairlead(['cluster', 'backup', join(home.dir, 'no', 'such', 'folder')])
    assert.notEqual(absent.code, 0)
    assert.deepEqual(
      readdirSync(home.dir).filter((name) => name.endsWith('.tmp')),
      [],
    )
  })

  it('refuses to restore a cluster that runs, and a backup that was changed', async () => {
    const running = await home.fairlead(['cluster', 'restore', file])
    assert.match(running.stderr, /it is running[^]*fairlead cluster stop/)
    await home.fairleadOk(['cluster', 'stop'])
    const bytes = readFileSync(file)
    bytes[bytes.length >> 1] = (bytes[bytes.length >> 1] ?? 0) ^ 1
    const changed = join(home.dir, 'changed.backup')
    writeFileSync(changed, bytes)
    const refused = await home.fairlead(['cluster', 'restore', changed])
    assert.match(refused.stderr, /FAIRLEAD_CLUSTER_STORAGE_CORRUPT/)
  })

  it('brings back what was saved and tells whoever watched from later to list again', async () => {
    await home.fairleadOk(['cluster', 'restore', file])
    await home.fairleadOk(start)
    const client = await connect()
    const restored = await names(client)
    assert.ok(restored.length > 0 && restored[0] === 'write-00001')
    // One revision of a writer that waits for each answer: a beginning of its sequence without a gap.
    assert.deepEqual(
      restored,
      restored.map((_, index) => `write-${String(index + 1).padStart(5, '0')}`),
    )
    const path = `/api/v1/namespaces/default/configmaps?watch=true&resourceVersion=${revision}`
    const { status, body } = await client.request({ method: 'GET', path })
    let text = ''
    for await (const chunk of body) text += Buffer.from(chunk).toString('utf8')
    assert.equal(status, 200)
    assert.match(text, /"type":"ERROR"[^]*"code":410/)
  })

  it('saves a stopped cluster, and restores one that was reset', async () => {
    const offline = join(home.dir, 'offline.backup')
    await home.fairleadOk(['cluster', 'stop'])
    await home.fairleadOk(['cluster', 'backup', offline])
    await home.fairleadOk(['cluster', 'reset'])
    await home.fairleadOk(['cluster', 'restore', offline])
    await home.fairleadOk(start)
    const client = await connect()
    assert.equal((await names(client))[0], 'write-00001')
    assert.ok(existsSync(offline))
  })
})
