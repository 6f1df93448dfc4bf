// StatefulSets and DaemonSets with real containers and volumes, driven by the real kubectl.
import assert from 'node:assert/strict'
import { after, before, describe, it } from 'node:test'
import { createKubectl, eventually, Home, missing, type Kubectl } from './support/machine.ts'
import { buildProgram } from './support/program-image.ts'

const skip = missing(['runc', 'conmon', 'nft', 'ip', 'kubectl'], { root: true })

/** Counts its starts in the volume it is given, tells them, and stays. */
const program = `
import { existsSync, readFileSync, writeFileSync } from 'node:fs'
const file = '/data/starts'
const starts = (existsSync(file) ? Number(readFileSync(file, 'utf8')) : 0) + 1
if (existsSync('/data')) writeFileSync(file, String(starts))
console.log(process.env.HOSTNAME + ' start ' + starts + ' of ' + (process.env.EDITION ?? 'first'))
setInterval(() => {}, 60_000)
process.on('SIGTERM', () => process.exit(0))
`

describe('sets', { skip }, () => {
  let home: Home
  let kubectl: Kubectl
  let image: string

  before(async () => {
    home = new Home()
    image = await buildProgram(home, { name: 'counter', source: program })
    await home.fairleadOk(['cluster', 'start'])
    kubectl = createKubectl(await home.kubeconfig(), home.dir)
    await kubectl('apply -f -', statefulSet())
    await kubectl('rollout status statefulset/db --timeout=180s')
  })

  after(async () => {
    await home[Symbol.asyncDispose]()
  })

  it('gives each pod a name and a volume whose data outlive the pod', async () => {
    assert.match(await kubectl('get storageclass'), /^local-path \(default\)/m)
    assert.match(await kubectl('get pvc data-db-1'), /^data-db-1 +Bound +pvc-/m)
    await logged('db-1', /^db-1 start 1 of first$/m)
    await kubectl('delete pod db-1')
    await kubectl('rollout status statefulset/db --timeout=180s')
    await logged('db-1', /^db-1 start 2 of first$/m)
  })

  it('rolls a StatefulSet out and undoes it', async () => {
    await kubectl('set env statefulset/db EDITION=second')
    await kubectl('rollout status statefulset/db --timeout=180s')
    await logged('db-0', /of second/)
    assert.match(await kubectl('rollout history statefulset/db'), /^1\b[^]*^2\b/m)
    await kubectl('rollout undo statefulset/db')
    await kubectl('rollout status statefulset/db --timeout=180s')
    await logged('db-0', /of first/)
  })

  it('rolls a DaemonSet out and undoes it', async () => {
    await kubectl('apply -f -', daemonSet())
    await kubectl('rollout status daemonset/agent --timeout=180s')
    await kubectl('set env daemonset/agent EDITION=second')
    await kubectl('rollout status daemonset/agent --timeout=180s')
    await kubectl('rollout undo daemonset/agent')
    await kubectl('rollout status daemonset/agent --timeout=180s')
    await logged('-l app=agent', /of first/)
  })

  it('drains a node only as far as the disruption budget allows', async () => {
    const node = await kubectl('get nodes -o jsonpath={.items[0].metadata.name}')
    await kubectl('create poddisruptionbudget db --selector=app=db --min-available=2')
    await eventually(
      'it is counted',
      async () => (await kubectl('get pdb db -o jsonpath={.status.currentHealthy}')) === '2',
    )
    const drain = `drain ${node} --ignore-daemonsets --pod-selector=app=db`
    await assert.rejects(
      kubectl(`${drain} --timeout=3s`),
      /Cannot evict pod as it would violate|global timeout reached/,
    )
    assert.equal(await kubectl('get pdb db -o jsonpath={.status.currentHealthy}'), '2')
    await kubectl('delete pdb db')
    await kubectl(`${drain} --timeout=180s`)
    await kubectl(`uncordon ${node}`)
    await kubectl('rollout status statefulset/db --timeout=180s')
  })

  it('takes the volumes away with their claims, and not before', async () => {
    await kubectl('delete statefulset db')
    await eventually('no pods', async () => (await kubectl('get pods -l app=db -o name')) === '')
    assert.equal((await kubectl('get pvc -o name')).trim().split('\n').length, 2)
    await kubectl('delete pvc --all')
    await eventually('no volumes', async () => (await kubectl('get pv -o name')) === '')
  })

  function statefulSet(): string {
    const volumeMounts = [{ name: 'data', mountPath: '/data' }]
    const claim = { accessModes: ['ReadWriteOnce'], resources: { requests: { storage: '10Mi' } } }
    const spec = {
      ...workload('db', { volumeMounts }),
      replicas: 2,
      serviceName: 'db',
      volumeClaimTemplates: [{ metadata: { name: 'data' }, spec: claim }],
    }
    return JSON.stringify({ apiVersion: 'apps/v1', kind: 'StatefulSet', metadata: { name: 'db' }, spec })
  }

  function daemonSet(): string {
    const spec = workload('agent', {})
    return JSON.stringify({ apiVersion: 'apps/v1', kind: 'DaemonSet', metadata: { name: 'agent' }, spec })
  }

  /** Pods are Ready when their program starts, which is before it says so. */
  async function logged(pods: string, line: RegExp): Promise<void> {
    await eventually(`${line} of ${pods}`, async () => line.test(await kubectl(`logs ${pods}`)))
  }

  function workload(app: string, more: object): object {
    const containers = [{ name: 'main', image, ...more }]
    const template = { metadata: { labels: { app } }, spec: { terminationGracePeriodSeconds: 2, containers } }
    return { selector: { matchLabels: { app } }, template }
  }
})
