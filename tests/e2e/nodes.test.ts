// Several nodes on one machine, driven by the real kubectl.
import assert from 'node:assert/strict'
import { after, before, describe, it } from 'node:test'
import type { Node, Pod } from '@fairlead/kube/types/core-v1'
import { createKubectl, eventually, Home, missing, type Kubectl } from './support/machine.ts'
import { buildProgram } from './support/program-image.ts'

const skip = missing(['runc', 'conmon', 'nft', 'ip', 'kubectl'], { root: true })

/** Tells its node, and keeps a little of a core busy. */
const program = `
console.log('on ' + process.env.NODE_NAME)
setInterval(() => { for (const end = Date.now() + 20; Date.now() < end;); }, 100)
process.on('SIGTERM', () => process.exit(0))
`

describe('several nodes', { skip, timeout: 900_000 }, () => {
  let home: Home
  let kubectl: Kubectl
  let image: string
  let names: string[]

  before(async () => {
    home = new Home()
    image = await buildProgram(home, { name: 'teller', source: program })
    await home.fairleadOk(['cluster', 'start', '--nodes', '3', '--zones', 'a,b'])
    kubectl = createKubectl(await home.kubeconfig(), home.dir)
    names = (await nodes()).map(({ metadata }) => metadata?.name ?? '')
  })

  after(async () => {
    await home[Symbol.asyncDispose]()
  })

  it('shows each with a name, zone, Lease and part of the machine of its own', async () => {
    const shown = await nodes()
    assert.equal(shown.length, 3)
    assert.deepEqual(
      shown.map(({ metadata }) => metadata?.labels?.['topology.kubernetes.io/zone']),
      ['a', 'b', 'a'],
    )
    for (const { metadata, status } of shown) {
      const name = metadata?.name ?? ''
      assert.equal(metadata?.labels?.['kubernetes.io/hostname'], name)
      assert.ok(status?.conditions?.some(({ type, status: value }) => type === 'Ready' && value === 'True'))
      const cores = Number(status?.capacity?.['cpu'])
      assert.equal(status?.allocatable?.['cpu'], `${Math.floor((cores * 1000) / 3)}m`)
      const holder = await kubectl(`get lease ${name} -n kube-node-lease -o jsonpath={.spec.holderIdentity}`)
      assert.equal(holder, name)
    }
  })

  it('runs a pod of a DaemonSet on each, whose logs and programs are to be had', async () => {
    await kubectl('apply -f -', JSON.stringify(workload('DaemonSet', image, 'agent', {})))
    await kubectl('rollout status daemonset/agent --timeout=180s')
    const placed = await podsOf('agent')
    assert.deepEqual(placed.map(nodeOf).toSorted(), names.toSorted())
    assert.equal(new Set(placed.map(({ status }) => status?.podIP)).size, 3)
    for (const pod of placed) {
      const name = pod.metadata?.name ?? ''
      await eventually(`${name} tells its node`, async () =>
        (await kubectl(`logs ${name}`)).includes(`on ${nodeOf(pod)}\n`),
      )
      assert.equal((await kubectl(`exec ${name} -- node -p process.env.NODE_NAME`)).trim(), nodeOf(pod))
    }
  })

  it('tells what each uses', async () => {
    await eventually('figures of all nodes', async () => {
      const { code, stdout } = await kubectl.raw(['top', 'nodes', '--no-headers'])
      const cores = stdout.matchAll(/ (\d+)m /g).map(([, milli]) => Number(milli))
      return code === 0 && [...cores].filter((milli) => milli > 0).length === 3
    })
    await eventually('figures of all pods', async () => {
      const { code, stdout } = await kubectl.raw(['top', 'pods', '--no-headers', '-l', 'app=agent'])
      return code === 0 && stdout.trim().split('\n').length === 3
    })
  })

  it('spreads pods over zones and nodes', async () => {
    const spreading = (topologyKey: string, whenUnsatisfiable: string): object => ({
      maxSkew: 1,
      topologyKey,
      whenUnsatisfiable,
      labelSelector: { matchLabels: { app: 'spread' } },
    })
    const topologySpreadConstraints = [
      spreading('topology.kubernetes.io/zone', 'DoNotSchedule'),
      spreading('kubernetes.io/hostname', 'ScheduleAnyway'),
    ]
    const spec = workload('Deployment', image, 'spread', { topologySpreadConstraints }, { replicas: 4 })
    await kubectl('apply -f -', JSON.stringify(spec))
    await kubectl('rollout status deployment/spread --timeout=180s')
    const placed = (await podsOf('spread')).map(nodeOf)
    const [first = '', second = '', third = ''] = names
    const on = (name: string): number => placed.filter((each) => each === name).length
    assert.deepEqual([on(second), on(first) + on(third), Math.min(on(first), on(third))], [2, 2, 1])
  })

  it('takes the pods of each node over when its process was killed', async () => {
    const before = await running()
    const { pid } = JSON.parse((await home.fairleadOk(['cluster', 'status', '--json'])).stdout) as { pid: number }
    process.kill(pid, 'SIGKILL')
    await eventually('the process has ended', () => Promise.resolve(!isAlive(pid)))
    await home.fairleadOk(['cluster', 'start'])
    await eventually('all containers go on', async () => JSON.stringify(await running()) === JSON.stringify(before))
    const [pod] = await podsOf('agent')
    assert.match(await kubectl(`exec ${pod?.metadata?.name} -- node -p 6*7`), /^42$/m)
  })

  it('keeps pods where they are when the cluster is started again', async () => {
    const before = await places()
    await home.fairleadOk(['cluster', 'stop'])
    await home.fairleadOk(['cluster', 'start'])
    assert.equal((await nodes()).length, 3)
    await kubectl('rollout status daemonset/agent --timeout=180s')
    await kubectl('rollout status deployment/spread --timeout=180s')
    assert.deepEqual(await places(), before)
  })

  it('moves what is drained from a node to others', async () => {
    await kubectl('delete deployment spread')
    await kubectl('apply -f -', JSON.stringify(workload('Deployment', image, 'mover', {}, { replicas: 3 })))
    await kubectl('rollout status deployment/mover --timeout=180s')
    const drained = names[1] ?? ''
    assert.ok((await podsOf('mover')).map(nodeOf).includes(drained))
    await kubectl(`drain ${drained} --ignore-daemonsets --timeout=180s`)
    await kubectl('rollout status deployment/mover --timeout=180s')
    await eventually('all are elsewhere', async () => {
      const placed = await podsOf('mover')
      return placed.length === 3 && placed.every((pod) => nodeOf(pod) !== drained && pod.status?.phase === 'Running')
    })
    assert.ok((await podsOf('agent')).map(nodeOf).includes(drained))
    await kubectl(`uncordon ${drained}`)
  })

  it('takes a node away with its pods when there are to be fewer', async () => {
    await home.fairleadOk(['cluster', 'stop'])
    await home.fairleadOk(['cluster', 'start', '--nodes', '2'])
    assert.deepEqual(
      (await nodes()).map(({ metadata }) => metadata?.name),
      names.slice(0, 2),
    )
    await eventually('the pods of the node are gone', async () => {
      const placed = [...(await podsOf('agent')), ...(await podsOf('mover'))]
      return placed.length === 5 && placed.every((pod) => names.slice(0, 2).includes(nodeOf(pod)))
    })
  })

  async function nodes(): Promise<Node[]> {
    const { items } = JSON.parse(await kubectl('get nodes -o json')) as { items: Node[] }
    return items
  }

  async function podsOf(app: string): Promise<Pod[]> {
    const { items } = JSON.parse(await kubectl(`get pods -l app=${app} -o json`)) as { items: Pod[] }
    return items.filter(({ metadata }) => metadata?.deletionTimestamp === undefined)
  }

  /** Which container runs where, at which address. */
  async function running(): Promise<string[]> {
    const placed = [...(await podsOf('agent')), ...(await podsOf('spread'))]
    return placed
      .map(({ spec, status }) => `${spec?.nodeName} ${status?.podIP} ${status?.containerStatuses?.[0]?.containerID}`)
      .toSorted()
  }

  /** Which pod is where. */
  async function places(): Promise<string[]> {
    const placed = [...(await podsOf('agent')), ...(await podsOf('spread'))]
    return placed.map((pod) => `${pod.metadata?.uid} ${nodeOf(pod)}`).toSorted()
  }

  function nodeOf({ spec }: Pod): string {
    return spec?.nodeName ?? ''
  }
})

describe('several nodes of plain processes', { skip: missing(['kubectl']), timeout: 900_000 }, () => {
  it('run pods of their own', async () => {
    await using home = new Home()
    const image = await buildProgram(home, { name: 'teller', source: program })
    await home.fairleadOk(['cluster', 'start', '--runtime', 'process', '--nodes', '2'])
    const kubectl = createKubectl(await home.kubeconfig(), home.dir)
    await kubectl('apply -f -', JSON.stringify(workload('DaemonSet', image, 'agent', {})))
    await kubectl('rollout status daemonset/agent --timeout=180s')
    const names = (await kubectl('get nodes -o name')).replaceAll('node/', '').trim().split('\n')
    assert.equal(names.length, 2)
    await eventually('each tells its node', async () => {
      const told = await kubectl('logs -l app=agent')
      return names.every((name) => told.includes(`on ${name}\n`))
    })
  })
})

function workload(kind: string, image: string, app: string, podSpec: object, spec: object = {}): object {
  const env = [{ name: 'NODE_NAME', valueFrom: { fieldRef: { fieldPath: 'spec.nodeName' } } }]
  const resources = { requests: { cpu: '10m', memory: '16Mi' } }
  const template = {
    metadata: { labels: { app } },
    spec: { terminationGracePeriodSeconds: 5, containers: [{ name: 'main', image, env, resources }], ...podSpec },
  }
  const whole = { selector: { matchLabels: { app } }, template, ...spec }
  return { apiVersion: 'apps/v1', kind, metadata: { name: app }, spec: whole }
}

function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0)
    return true
  } catch {
    return false
  }
}
