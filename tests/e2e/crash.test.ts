// The cluster process may be killed at any time: no acknowledged write is lost, and services come back.
import assert from 'node:assert/strict'
import { after, before, describe, it } from 'node:test'
import { connectKube, isNotFound, loadKubeconfig, type KubeClient } from '@fairlead/kube'
import { createKubectl, eventually, freePort, Home, missing } from './support/machine.ts'

const skip = missing(['runc', 'conmon', 'nft', 'ip', 'kubectl'], { root: true })

describe('kill -9 of the cluster process', { skip }, () => {
  let home: Home
  let url: string

  before(async () => {
    const port = await freePort()
    home = new Home({ SHOP_PORT: String(port) })
    url = `http://127.0.0.1:${port}`
    await home.fairleadOk(['up', 'examples/shop'])
  })

  after(async () => {
    await home[Symbol.asyncDispose]()
  })

  it('loses no acknowledged write, and the shop serves again with the containers it had', async () => {
    const kubeconfig = await home.kubeconfig()
    const kubectl = createKubectl(kubeconfig, home.dir)
    const uids = async (): Promise<string> => kubectl('get pods -o jsonpath={.items[*].metadata.uid}')
    const starts = async (): Promise<string> =>
      kubectl('get pods -o jsonpath={.items[*].status.containerStatuses[0].containerID}')
    const [uidsBefore, startsBefore] = [await uids(), await starts()]
    const status = JSON.parse((await home.fairleadOk(['cluster', 'status', '--json'])).stdout)

    const client = connectKube({ kubeconfig: loadKubeconfig({ path: kubeconfig }) })
    const acknowledged: string[] = []
    const writers = Array.from({ length: 8 }, (_, writer) => writeUntilItFails(client, writer, acknowledged))
    await eventually('a stream of writes', () => acknowledged.length > 300)
    process.kill(status.pid, 'SIGKILL')
    await Promise.all(writers)

    await home.fairleadOk(['cluster', 'start'])
    const again = connectKube({ kubeconfig: loadKubeconfig({ path: kubeconfig }) })
    const { items } = await again.resource('v1/ConfigMap').list({ namespace: 'default' })
    const present = new Set(items.map((item) => item.metadata?.name))
    assert.deepEqual(
      acknowledged.filter((name) => !present.has(name)),
      [],
    )
    await eventually(
      'the shop serves again',
      async () => (await fetch(url, { signal: AbortSignal.timeout(10_000) })).ok,
    )
    assert.equal(await uids(), uidsBefore)
    assert.equal(await starts(), startsBefore)
  })

  async function writeUntilItFails(client: KubeClient, writer: number, acknowledged: string[]): Promise<void> {
    for (let number = 0; number < 5_000; number += 1) {
      const name = `write-${writer}-${number}`
      try {
        await client
          .resource('v1/ConfigMap')
          .create({ metadata: { name }, data: { number: String(number) } }, { namespace: 'default' })
        acknowledged.push(name)
      } catch (error) {
        assert.equal(isNotFound(error), false)
        return
      }
    }
    assert.fail('the cluster was never killed')
  }
})
