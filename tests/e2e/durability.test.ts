// kill -9 while 16 clients write and 50 watch: what was acknowledged is there afterwards, and so is everything a watcher was told.
// FAIRLEAD_CRASH_ROUNDS=10 repeats it on the same cluster; once is what a build can wait for.
import assert from 'node:assert/strict'
import type { ClientRequest } from 'node:http'
import { request } from 'node:https'
import type { RequestOptions } from 'node:https'
import { after, before, describe, it } from 'node:test'
import { connectKube, loadKubeconfig } from '@fairlead/kube'
import type { KubeClient } from '@fairlead/kube'
import type { ObjectMeta } from '@fairlead/kube/types'
import { eventually, Home } from './support/machine.ts'

const rounds = Number(process.env['FAIRLEAD_CRASH_ROUNDS'] ?? '1')
const collection = '/api/v1/namespaces/default/configmaps'
const start = ['cluster', 'start', '--runtime', 'process']

/** `ADDED c-1 812`: what a watch says of a change. */
type Change = string

describe('kill -9 of the cluster process while 16 clients write and 50 watch', () => {
  let home: Home
  let kubeconfig: string

  before(async () => {
    home = new Home()
    await home.fairleadOk(start)
    kubeconfig = await home.kubeconfig()
  })

  after(async () => {
    await home[Symbol.asyncDispose]()
  })

  for (let round = 0; round < rounds; round += 1) {
    it(`loses nothing acknowledged, and nobody saw what is not there afterwards (round ${round + 1})`, async () => {
      const { pid } = JSON.parse((await home.fairleadOk(['cluster', 'status', '--json'])).stdout)
      const client = connectKube({ kubeconfig: loadKubeconfig({ path: kubeconfig }) })
      const { metadata } = await client.resource('v1/ConfigMap').list({ namespace: 'default' })
      const since = metadata?.resourceVersion ?? ''
      const address = readAddress(kubeconfig)
      const watchers = Array.from({ length: 50 }, () => new RawWatch(address, since))
      await Promise.all(watchers.map((watcher) => watcher.begun))

      const acknowledged: Change[] = []
      const writers = Array.from({ length: 16 }, (_, writer) => writeOn(client, `r${round}-w${writer}`, acknowledged))
      const killAfter = 800 + Math.floor(Math.random() * 800)
      await eventually('a stream of writes', () => acknowledged.length > killAfter)
      process.kill(pid, 'SIGKILL')
      await Promise.all([...writers, ...watchers.map((watcher) => watcher.ended)])
      await home.fairleadOk(start)

      const history = await readHistory(client, address, since)
      const known = new Set(history)
      assert.deepEqual(
        acknowledged.filter((change) => !known.has(change)),
        [],
        'acknowledged and lost',
      )
      for (const { seen } of watchers)
        assert.deepEqual(seen, history.slice(0, seen.length), 'seen, and not what there is')
      assert.ok(watchers.every(({ seen }) => seen.length > 100))
    })
  }
})

/** Creates, changes and deletes objects until nobody answers; what was acknowledged is noted as a watch tells it. */
async function writeOn(client: KubeClient, prefix: string, acknowledged: Change[]): Promise<void> {
  const maps = client.resource('v1/ConfigMap')
  const note = (type: string, { metadata }: { readonly metadata?: ObjectMeta | undefined }): void => {
    acknowledged.push(`${type} ${metadata?.name} ${metadata?.resourceVersion}`)
  }
  try {
    for (let number = 0; number < 100_000; number += 1) {
      const name = `${prefix}-${number}`
      const made = await maps.create({ metadata: { name }, data: { state: 'new' } }, { namespace: 'default' })
      note('ADDED', made)
      note('MODIFIED', await maps.update({ ...made, data: { state: 'changed' } }))
      if (number % 3 === 0) await maps.delete(name, { namespace: 'default' })
    }
  } catch {
    return
  }
  assert.fail('the cluster was never killed')
}

interface Address extends RequestOptions {
  readonly host: string
  readonly port: string
}

function readAddress(path: string): Address {
  const { clusters, users } = loadKubeconfig({ path })
  const [cluster, user] = [clusters?.[0]?.cluster, users?.[0]?.user]
  const { hostname, port } = new URL(cluster?.server ?? '')
  const decode = (text: string | undefined): Buffer => Buffer.from(text ?? '', 'base64')
  return {
    host: hostname,
    port,
    ca: decode(cluster?.['certificate-authority-data']),
    cert: decode(user?.['client-certificate-data']),
    key: decode(user?.['client-key-data']),
    agent: false,
  }
}

/** A watch by hand: a client that begins anew after a failure would hide what this one is asked about. */
class RawWatch {
  readonly seen: Change[] = []
  readonly begun: Promise<void>
  readonly ended: Promise<void>
  readonly #request: ClientRequest

  constructor(address: Address, since: string) {
    const path = `${collection}?watch=true&resourceVersion=${since}`
    const [begun, ended] = [Promise.withResolvers<void>(), Promise.withResolvers<void>()]
    this.begun = begun.promise
    this.ended = ended.promise
    this.#request = request({ ...address, path }, (response) => {
      assert.equal(response.statusCode, 200)
      let rest = ''
      response.setEncoding('utf8').on('data', (text: string) => {
        const lines = (rest + text).split('\n')
        rest = lines.pop() ?? ''
        for (const line of lines) this.#read(line)
      })
      // Killed, the server ends the answer in the middle: an error here, and the end of this watch.
      response.on('error', () => undefined).on('close', () => ended.resolve())
      begun.resolve()
    })
    this.#request.on('error', (error) => begun.reject(error)).end()
  }

  close(): void {
    this.#request.destroy()
  }

  #read(line: string): void {
    const { type, object } = JSON.parse(line)
    this.seen.push(`${type} ${object.metadata?.name} ${object.metadata?.resourceVersion}`)
  }
}

/** Every change since a revision, as the cluster tells it now. */
async function readHistory(client: KubeClient, address: Address, since: string): Promise<Change[]> {
  const watch = new RawWatch(address, since)
  await watch.begun
  const name = `end-${since}`
  const { metadata } = await client.resource('v1/ConfigMap').create({ metadata: { name } }, { namespace: 'default' })
  const last = `ADDED ${name} ${metadata?.resourceVersion}`
  await eventually('the whole history', () => watch.seen.at(-1) === last)
  watch.close()
  return watch.seen
}
