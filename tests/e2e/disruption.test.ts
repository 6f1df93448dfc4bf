// What clients notice of updates, deleted pods, drained nodes and a cluster that is killed: nothing.
// `FAIRLEAD_UPDATES=100` and `FAIRLEAD_DRAINS=10` make it a long run.
import assert from 'node:assert/strict'
import { after, before, describe, it } from 'node:test'
import { watchBudgets } from './support/budgets.ts'
import { createKubectl, eventually, freePort, Home, missing, type Kubectl } from './support/machine.ts'
import { startLoad, type Load } from './support/load.ts'

const skip = missing(['runc', 'conmon', 'nft', 'ip', 'kubectl'], { root: true })
const updates = Number(process.env['FAIRLEAD_UPDATES'] ?? 2)
const drains = Number(process.env['FAIRLEAD_DRAINS'] ?? 1)
const services = ['catalog', 'orders', 'web']

describe('requests while their pods change', { skip }, () => {
  let home: Home
  let kubectl: Kubectl
  /** Of the gateway, which passes everything on to `web`. */
  let entrance: string

  before(async () => {
    home = new Home({ SHOP_PORT: String(await freePort()) })
    await home.fairleadOk(['cluster', 'start', '--nodes', '2'])
    await home.fairleadOk(['up', 'examples/shop'])
    kubectl = createKubectl(await home.kubeconfig(), home.dir)
    for (const service of services) await kubectl(`scale deployment ${service} --replicas=2`)
    await ready()
    const backend = { service: { name: 'web', port: { number: Number(await portOf('web')) } } }
    await kubectl('apply -f -', JSON.stringify({ ...ingress, spec: { defaultBackend: backend } }))
    const address = 'get ingress shop -o jsonpath=http://{.status.loadBalancer.ingress[0].ip}:'
    const port = '{.status.loadBalancer.ingress[0].ports[0].port}'
    entrance = await eventually('the gateway', async () => {
      const url = await kubectl(address + port)
      return (await fetch(`${url}/cart`)).ok ? url : undefined
    })
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
        const { items } = JSON.parse(await kubectl(`get pods -l ${label}=${service} -o json`))
        const pod = items.find(({ metadata }: { metadata: object }) => !('deletionTimestamp' in metadata))
        await kubectl(`delete pod ${pod.metadata.name}`)
        await ready()
      }
    })
  })

  it(`are all answered when each node is drained ${drains} times, and no budget is violated`, async () => {
    for (const service of services)
      await kubectl(`create poddisruptionbudget ${service} --selector=${label}=${service} --min-available=2`)
    for (const service of services) await kubectl(`scale deployment ${service} --replicas=3`)
    await ready()
    const nodes = (await kubectl('get nodes -o jsonpath={.items[*].metadata.name}')).split(' ')
    assert.equal(nodes.length, 2)
    await using watch = await watchBudgets(await home.kubeconfig(), label)
    await noneFailsWhile(async (loads) => {
      for (let drain = 0; drain < drains; drain += 1) for (const node of nodes) await drainOnce(node, loads)
    })
    assert.ok(watch.changes > drains * services.length * 2, `${watch.changes} changes were seen`)
    for (const service of services) assert.equal(watch.fewest.get(service), 2, `fewest of ${service}`)
  })

  it('are all answered when the cluster is killed and started again', async () => {
    await noneFailsWhile(async (loads) => {
      const { pid } = JSON.parse((await home.fairleadOk(['cluster', 'status', '--json'])).stdout)
      process.kill(pid, 'SIGKILL')
      await moreAnswers(loads)
      await home.fairleadOk(['cluster', 'start'])
      await ready()
    }, 'services')
  })

  /**
   * Posts over connections that are kept, and reads of a second service over new ones: at the addresses of the Services, and through
   * the gateway, which ends with the process of the cluster.
   */
  async function noneFailsWhile(
    action: (loads: readonly Load[]) => Promise<void>,
    past: 'gateway' | 'services' = 'gateway',
  ): Promise<void> {
    const loads = [
      startLoad({
        url: `${await urlOf('web')}/cart`,
        perSecond: 50,
        form,
        status: 303,
        connections: 'kept',
      }),
      startLoad({ url: `${await urlOf('catalog')}/categories`, perSecond: 20 }),
      ...(past === 'gateway'
        ? [
            startLoad({ url: `${entrance}/cart`, perSecond: 20, form, status: 303, connections: 'kept' }),
            startLoad({ url: `${entrance}/cart`, perSecond: 10 }),
          ]
        : []),
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

  /** As an administrator takes a machine out of service, and back. */
  async function drainOnce(node: string, loads: readonly Load[]): Promise<void> {
    await kubectl(`drain ${node} --ignore-daemonsets --delete-emptydir-data --timeout=180s`)
    assert.equal(await kubectl(`get pods --field-selector spec.nodeName=${node} -o name`), '')
    await ready()
    await moreAnswers(loads)
    await kubectl(`uncordon ${node}`)
  }

  async function moreAnswers(loads: readonly Load[]): Promise<void> {
    const counts = loads.map(({ answers }) => answers.length + 20)
    await eventually('answers', () => loads.every(({ answers }, index) => answers.length > (counts[index] ?? 0)))
  }

  async function ready(): Promise<void> {
    for (const service of services) await kubectl(`rollout status deployment/${service} --timeout=180s`)
  }

  async function portOf(service: string): Promise<string> {
    return await kubectl(`get service ${service} -o jsonpath={.spec.ports[0].port}`)
  }

  async function urlOf(service: string): Promise<string> {
    return await kubectl(`get service ${service} -o jsonpath=http://{.spec.clusterIP}:{.spec.ports[0].port}`)
  }
})

const label = 'app.kubernetes.io/name'
const ingress = { apiVersion: 'networking.k8s.io/v1', kind: 'Ingress', metadata: { name: 'shop' } }
const form = 'sku=mug-enamel&quantity=1'
