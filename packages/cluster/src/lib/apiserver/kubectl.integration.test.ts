import assert from 'node:assert/strict'
import { execFile, spawn } from 'node:child_process'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { after, before, describe, it } from 'node:test'
import { promisify } from 'node:util'

import { openStore } from '../storage/store.ts'
import type { Store } from '../storage/store.ts'
import { missesKubectl, serveKubectl } from './test-kubectl.ts'
import { startTestServer } from './test-server.ts'
import type { TestServer } from './test-server.ts'

const run = promisify(execFile)
const isSkipped = missesKubectl()

const manifest = (replicas: number, image: string): string => `
apiVersion: v1
kind: Service
metadata: {name: api}
spec: {type: LoadBalancer, selector: {app: api}, ports: [{port: 80, targetPort: 8080}]}
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: api}
spec:
  replicas: ${replicas}
  selector: {matchLabels: {app: api}}
  template:
    metadata: {labels: {app: api}}
    spec: {containers: [{name: api, image: "${image}", ports: [{containerPort: 8080}]}]}
`

describe('kubectl', { skip: isSkipped, timeout: 600_000 }, () => {
  const dir = mkdtempSync(join(tmpdir(), 'fairlead-kubectl-'))
  const env = { ...process.env, KUBECONFIG: join(dir, 'config'), HOME: dir }
  let store: Store
  let api: TestServer

  before(async () => {
    store = await openStore({ dir: join(dir, 'store') })
    api = await startTestServer({ store })
    await serveKubectl(api.server, dir, env.KUBECONFIG)
  })

  after(async () => {
    await api[Symbol.asyncDispose]()
    await store.close()
    rmSync(dir, { recursive: true, force: true })
  })

  async function kubectl(...args: string[]): Promise<string> {
    const { stdout, stderr } = await run('kubectl', args, { env, timeout: 60_000 })
    return stdout + stderr
  }

  async function kubectlWith(input: string, ...args: string[]): Promise<string> {
    const file = join(dir, 'input.yaml')
    writeFileSync(file, input)
    return await kubectl(...args, '-f', file)
  }

  async function inTeam(...args: string[]): Promise<string> {
    return await kubectl('-n', 'team', ...args)
  }

  it('reads version and resources', async () => {
    assert.match(await kubectl('version'), /Server Version: v1\.36\.0/)
    assert.match(await kubectl('api-resources'), /deployments\s+deploy\s+apps\/v1\s+true\s+Deployment/)
    assert.match(await kubectl('api-versions'), /^apps\/v1$/m)
    assert.match(await kubectl('auth', 'can-i', 'create', 'pods'), /yes/)
    assert.match(await kubectl('auth', 'whoami'), /system:masters/)
  })

  it('creates by generators, which send protobuf', async () => {
    assert.equal(await kubectl('create', 'namespace', 'team'), 'namespace/team created\n')
    await inTeam('create', 'deployment', 'made', '--image=app:1')
    await inTeam('create', 'configmap', 'settings', '--from-literal=a=b')
    await inTeam('create', 'secret', 'generic', 'hidden', '--from-literal=a=b')
    await inTeam('create', 'service', 'clusterip', 'plain', '--tcp=80:8080')
    await inTeam('create', 'serviceaccount', 'robot')
    await inTeam('create', 'job', 'once', '--image=app:1')
    await inTeam('run', 'single', '--image=app:1')
    assert.equal(await inTeam('get', 'configmap', 'settings', '-o', 'jsonpath={.data.a}'), 'b')
    await assert.rejects(inTeam('create', 'configmap', 'settings'), /configmaps "settings" already exists/)
  })

  it('applies, applies again, and applies a change', async () => {
    assert.match(await kubectlWith(manifest(1, 'app:1'), 'apply', '-n', 'team'), /deployment.apps\/api created/)
    const again = await kubectlWith(manifest(1, 'app:1'), 'apply', '-n', 'team')
    assert.match(again, /service\/api unchanged\ndeployment.apps\/api unchanged/)
    assert.match(await kubectlWith(manifest(2, 'app:2'), 'apply', '-n', 'team'), /deployment.apps\/api configured/)
    assert.equal(await inTeam('get', 'deploy', 'api', '-o', 'jsonpath={.spec.replicas}'), '2')
    await assert.rejects(
      kubectlWith(manifest(2, 'app:2').replace('replicas', 'replcas'), 'apply', '-n', 'team'),
      /unknown field "spec.replcas"/,
    )
  })

  it('shows tables and objects', async () => {
    assert.match(await inTeam('get', 'deploy'), /^NAME\s+READY\s+UP-TO-DATE\s+AVAILABLE\s+AGE\napi\s+0\/2/)
    assert.match(await inTeam('get', 'svc,deploy', '-o', 'wide'), /service\/api\s+LoadBalancer\s+10\.96/)
    assert.match(await inTeam('get', 'deploy,svc', '-o', 'yaml'), /kind: Deployment[^]*kind: Service/)
    assert.match(await inTeam('get', 'all'), /pod\/single/)
    assert.match(await inTeam('describe', 'deploy', 'api'), /Replicas:\s+2 desired/)
    assert.match(await inTeam('describe', 'pod', 'single'), /Image:\s+app:1/)
    assert.match(await inTeam('describe', 'svc', 'api'), /Type:\s+LoadBalancer/)
    assert.match(await kubectl('describe', 'ns', 'team'), /Status:\s+Active/)
    assert.match(await inTeam('get', 'pods', '-l', 'run=single', '--field-selector', 'status.phase=Pending'), /single/)
  })

  it('follows changes with get -w', async () => {
    const child = spawn('kubectl', ['-n', 'team', 'get', 'deploy', 'api', '-w', '--no-headers'], { env })
    const lines: string[] = []
    try {
      for await (const line of createInterface({ input: child.stdout })) {
        lines.push(line)
        if (lines.length === 1) await inTeam('scale', 'deploy/api', '--replicas=4')
        if (/0\/4/.test(line)) break
      }
    } finally {
      child.kill()
    }
    assert.match(lines[0] ?? '', /^api\s+0\/2/)
  })

  it('changes objects in every way', async () => {
    assert.match(await inTeam('label', 'deploy', 'api', 'tier=front'), /labeled/)
    assert.match(await inTeam('annotate', 'deploy', 'api', 'note=x'), /annotated/)
    assert.match(await inTeam('set', 'image', 'deploy/api', 'api=app:3'), /image updated/)
    const replace = '[{"op":"replace","path":"/spec/replicas","value":5}]'
    assert.match(await inTeam('patch', 'deploy', 'api', '--type=json', '-p', replace), /patched/)
    assert.match(await inTeam('patch', 'deploy', 'api', '--type=merge', '-p', '{"spec":{"paused":true}}'), /patched/)
    const side = '{"spec":{"template":{"spec":{"containers":[{"name":"side","image":"side:1"}]}}}}'
    assert.match(await inTeam('patch', 'deploy', 'api', '-p', side), /patched/)
    assert.match(await inTeam('rollout', 'restart', 'deploy/made'), /restarted/)
    assert.match(await inTeam('expose', 'deploy', 'made', '--port=80'), /exposed/)
    assert.match(await inTeam('autoscale', 'deploy', 'made', '--min=1', '--max=3'), /autoscaled/)
    const path =
      'jsonpath={.spec.replicas} {.spec.paused} {.metadata.labels.tier} {.spec.template.spec.containers[*].image}'
    const [replicas, paused, tier, ...images] = (await inTeam('get', 'deploy', 'api', '-o', path)).split(' ')
    assert.deepEqual([replicas, paused, tier, images.toSorted()], ['5', 'true', 'front', ['app:3', 'side:1']])
    assert.match(await inTeam('get', 'hpa', 'made'), /Deployment\/made/)
    assert.match(await inTeam('explain', 'deployment.spec.replicas'), /FIELD: replicas <integer>/)
  })

  it('tries writes without making them', async () => {
    const before = store.revision
    assert.match(await inTeam('create', 'configmap', 'dry', '--dry-run=server'), /created \(server dry run\)/)
    assert.match(
      await kubectlWith(manifest(7, 'app:7'), 'apply', '-n', 'team', '--dry-run=server'),
      /configured \(server dry run\)/,
    )
    assert.equal(store.revision, before)
  })

  it('waits for a condition', async () => {
    const waiting = inTeam('wait', '--for=condition=Available', 'deploy/api', '--timeout=20s')
    const condition = { type: 'Available', status: 'True', reason: 'MinimumReplicasAvailable', message: '' }
    const patch = { type: 'merge', body: { status: { conditions: [condition] } } } as const
    await api.client.resource('apps/v1/Deployment').patch('api', patch, { namespace: 'team', subresource: 'status' })
    assert.match(await waiting, /condition met/)
  })

  it('deletes and waits until things are gone', async () => {
    assert.match(await inTeam('delete', 'deploy', 'made', '--wait'), /"made" deleted/)
    assert.match(await inTeam('delete', 'pods', '--all', '--wait'), /"single" deleted/)
    await assert.rejects(inTeam('get', 'deploy', 'made'), /deployments.apps "made" not found/)
    assert.match(await kubectl('delete', 'ns', 'team', '--wait=false'), /deleted/)
    assert.match(await kubectl('get', 'ns', 'team'), /Terminating/)
  })
})
