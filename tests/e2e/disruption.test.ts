// What clients notice of updates, deleted pods and a cluster that is killed: nothing.
// `FAIRLEAD_UPDATES=100` makes it a long run.
import assert from 'node:assert/strict'
import { after, before, describe, it } from 'node:test'
import { createKubectl, eventually, freePort, Home, missing, type Kubectl } from './support/machine.ts'
import { startLoad, type Load } from './support/load.ts'

const skip = missing(['runc', 'conmon', 'nft', 'ip', 'kubectl'], { root: true })
const updates = Number(process.env['FAIRLEAD_UPDATES'] ?? 2)
const services = ['catalog', 'orders', 'web']

describe('requests while their pods change', { skip }, () => {
  let home: Home
  let kubectl: Kubectl

  before(async () => {
    home = new Home({ SHOP_PORT: String(await freePort()) })
    await home.fairleadOk(['up', 'examples/shop'])
    kubectl = createKubectl(await home.kubeconfig(), home.dir)
    for (const service of services) await kubectl(`scale deployment ${service} --replicas=2`)
    await ready()
  })

  after(async () => {
    await home[Symbol.asyncDispose]()
  })

  it(`are all answered in ${updates} rolling updates of each service`, async () => {
    await noneFailsWhile(async () => {
      for (let update = 1; update <= updates; update += 1) {
        for (const service of services) await kubectl(`set env deployment/${service} UPDATE=${update}`)
        await ready()
      }
    })
  })

  it('are all answered when pods are deleted', async () => {
    await noneFailsWhile(async () => {
      for (const service of services) {
        const { items } = JSON.parse(await kubectl(`get pods -l app.kubernetes.io/name=${service} -o json`))
        const pod = items.find(({ metadata }: { metadata: object }) => !('deletionTimestamp' in metadata))
        await kubectl(`delete pod ${pod.metadata.name}`)
        await ready()
      }
    })
  })

  it('are all answered when the cluster is killed and started again', async () => {
    await noneFailsWhile(async (loads) => {
      const { pid } = JSON.parse((await home.fairleadOk(['cluster', 'status', '--json'])).stdout)
      process.kill(pid, 'SIGKILL')
      await moreAnswers(loads)
      await home.fairleadOk(['cluster', 'start'])
      await ready()
    })
  })

  /** Posts over connections that are kept, and reads of a second service over new ones. */
  async function noneFailsWhile(action: (loads: readonly Load[]) => Promise<void>): Promise<void> {
    const loads = [
      startLoad({
        url: `${await urlOf('web')}/cart`,
        perSecond: 50,
        form,
        status: 303,
        connections: 'kept',
      }),
      startLoad({ url: `${await urlOf('catalog')}/categories`, perSecond: 20 }),
    ]
    try {
      await moreAnswers(loads)
      await action(loads)
      await moreAnswers(loads)
    } finally {
      await Promise.all(loads.map((load) => load[Symbol.asyncDispose]()))
      const failures = loads.flatMap((load) => load.failures)
      assert.deepEqual(failures.slice(0, 10), [], `${failures.length} requests failed`)
    }
  }

  async function moreAnswers(loads: readonly Load[]): Promise<void> {
    const counts = loads.map(({ answers }) => answers.length + 20)
    await eventually('answers', () => loads.every(({ answers }, index) => answers.length > (counts[index] ?? 0)))
  }

  async function ready(): Promise<void> {
    for (const service of services) await kubectl(`rollout status deployment/${service} --timeout=90s`)
  }

  async function urlOf(service: string): Promise<string> {
    return await kubectl(`get service ${service} -o jsonpath=http://{.spec.clusterIP}:{.spec.ports[0].port}`)
  }
})

const form = 'sku=mug-enamel&quantity=1'
