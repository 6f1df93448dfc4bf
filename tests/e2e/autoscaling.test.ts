// kubectl top, and autoscalers under a load that really is one.
import assert from 'node:assert/strict'
import { after, before, describe, it } from 'node:test'
import { createKubectl, eventually, Home, missing, type Kubectl } from './support/machine.ts'
import { buildProgram } from './support/program-image.ts'

const skip = missing(['runc', 'conmon', 'nft', 'ip', 'kubectl'], { root: true })

/** Keeps a tenth of a core busy until it is told that it is enough. */
const program = `
let isEnough = false
process.on('SIGUSR2', () => { isEnough = true })
setInterval(() => {
  const until = Date.now() + 20
  while (!isEnough && Date.now() < until);
}, 200)
`
const patienceMs = 120_000

describe('autoscaling', { skip }, () => {
  let home: Home
  let kubectl: Kubectl

  before(async () => {
    home = new Home()
    const image = await buildProgram(home, { name: 'burner', source: program })
    await home.fairleadOk(['cluster', 'start'])
    kubectl = createKubectl(await home.kubeconfig(), home.dir)
    await kubectl('apply -f -', deployment(image))
    await kubectl('rollout status deployment/burner --timeout=180s')
  })

  after(async () => {
    await home[Symbol.asyncDispose]()
  })

  it('kubectl top shows what nodes, pods and containers use', async () => {
    await eventually('figures of the pod', async () => /burner-\S+ +\d+m +\d+Mi/.test(await top('pods')), patienceMs)
    assert.match(await kubectl('top pods --containers'), /burner-\S+ +main +\d+m +\d+Mi/)
    assert.match(await kubectl('top nodes'), /\d+m +\d+% +\d+Mi +\d+%/)
    const [, used = ''] = /burner-\S+ +(\d+)m/.exec(await top('pods')) ?? []
    assert.ok(Number(used) >= 40 && Number(used) <= 300, `${used}m of about 100m`)
  })

  it('scales out while there is load, and in when it is over', async () => {
    await kubectl('apply -f -', autoscaler())
    await eventually('three replicas', async () => (await replicas()) === '3', patienceMs)
    assert.match(await kubectl('get hpa burner'), /Deployment\/burner +cpu: \d+%\/20% +1 +3/)
    await kubectl('rollout status deployment/burner --timeout=180s')
    const events = await kubectl('get events --field-selector involvedObject.kind=HorizontalPodAutoscaler')
    assert.match(
      events,
      /SuccessfulRescale.*New size: \d; reason: cpu resource utilization \(percentage of request\) above target/,
    )
    const pods = await kubectl('get pods -l app=burner -o jsonpath={.items[*].metadata.name}')
    for (const pod of pods.split(' ')) await kubectl(`exec ${pod} -- node -e process.kill(1,'SIGUSR2')`)
    await eventually('one replica', async () => (await replicas()) === '1', patienceMs)
    const conditions = await kubectl('get hpa burner -o jsonpath={.status.conditions[*].type}')
    assert.deepEqual(conditions.split(' ').toSorted(), ['AbleToScale', 'ScalingActive', 'ScalingLimited'])
  })

  async function top(what: string): Promise<string> {
    return await kubectl(`top ${what}`).catch(() => '')
  }

  async function replicas(): Promise<string> {
    return await kubectl('get deployment burner -o jsonpath={.spec.replicas}')
  }

  function deployment(image: string): string {
    const labels = { app: 'burner' }
    const containers = [{ name: 'main', image, resources: { requests: { cpu: '100m' } } }]
    const template = { metadata: { labels }, spec: { terminationGracePeriodSeconds: 1, containers } }
    const spec = { replicas: 1, selector: { matchLabels: labels }, template }
    return JSON.stringify({ apiVersion: 'apps/v1', kind: 'Deployment', metadata: { name: 'burner' }, spec })
  }

  function autoscaler(): string {
    const target = { type: 'Utilization', averageUtilization: 20 }
    const spec = {
      scaleTargetRef: { apiVersion: 'apps/v1', kind: 'Deployment', name: 'burner' },
      minReplicas: 1,
      maxReplicas: 3,
      metrics: [{ type: 'Resource', resource: { name: 'cpu', target } }],
      behavior: { scaleDown: { stabilizationWindowSeconds: 0 } },
    }
    const about = { apiVersion: 'autoscaling/v2', kind: 'HorizontalPodAutoscaler' }
    return JSON.stringify({ ...about, metadata: { name: 'burner' }, spec })
  }
})
