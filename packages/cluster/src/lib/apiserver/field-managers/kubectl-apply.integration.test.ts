import assert from 'node:assert/strict'
import { execFile } from 'node:child_process'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, before, describe, it } from 'node:test'
import { promisify } from 'node:util'

import { missesKubectl, serveKubectl } from '../test-kubectl.ts'
import { startTestServer } from '../test-server.ts'
import type { TestServer } from '../test-server.ts'

const run = promisify(execFile)
const isSkipped = missesKubectl()

interface Managed {
  manager: string
  operation: string
  subresource?: string
}

describe('kubectl apply --server-side', { skip: isSkipped, timeout: 600_000 }, () => {
  const dir = mkdtempSync(join(tmpdir(), 'fairlead-kubectl-apply-'))
  const env = { ...process.env, KUBECONFIG: join(dir, 'config'), HOME: dir }
  let api: TestServer

  before(async () => {
    api = await startTestServer()
    await serveKubectl(api.server, dir, env.KUBECONFIG)
  })
  after(async () => {
    await api[Symbol.asyncDispose]()
    rmSync(dir, { recursive: true, force: true })
  })

  const manifest = (name: string, replicas: number, image: string): string => {
    const file = join(dir, `${name}-${replicas}-${image.replaceAll(':', '')}.yaml`)
    writeFileSync(
      file,
      `
apiVersion: apps/v1
kind: Deployment
metadata: {name: ${name}}
spec:
  replicas: ${replicas}
  selector: {matchLabels: {app: ${name}}}
  template:
    metadata: {labels: {app: ${name}}}
    spec: {containers: [{name: web, image: "${image}", ports: [{containerPort: 80}]}]}
`,
    )
    return file
  }
  async function kubectl(...args: string[]): Promise<string> {
    return (await run('kubectl', args, { env, timeout: 60_000 })).stdout
  }
  async function fails(...args: string[]): Promise<string> {
    const outcome = await run('kubectl', args, { env, timeout: 60_000 }).then(
      () => undefined,
      (error: { stderr: string; stdout: string; code: number }) => error,
    )
    assert.ok(outcome, `kubectl ${args.join(' ')} succeeds`)
    return outcome.stderr + outcome.stdout
  }
  async function managers(name: string): Promise<string[]> {
    const text = await kubectl('get', 'deployment', name, '-o', 'json', '--show-managed-fields')
    const { metadata } = JSON.parse(text) as { metadata: { managedFields: Managed[] } }
    return metadata.managedFields
      .map(({ manager, operation, subresource }) => [manager, operation, subresource].filter(Boolean).join(' '))
      .toSorted()
  }

  it('makes, changes and leaves alone', async () => {
    const file = manifest('plain', 1, 'web:1')
    assert.match(await kubectl('apply', '--server-side', '-f', file), /plain serverside-applied/)
    const version = await kubectl('get', 'deployment', 'plain', '-o', 'jsonpath={.metadata.resourceVersion}')
    await kubectl('apply', '--server-side', '-f', file)
    assert.equal(await kubectl('get', 'deployment', 'plain', '-o', 'jsonpath={.metadata.resourceVersion}'), version)
    await kubectl('apply', '--server-side', '-f', manifest('plain', 2, 'web:1'))
    assert.equal(await kubectl('get', 'deployment', 'plain', '-o', 'jsonpath={.spec.replicas}'), '2')
    assert.deepEqual(await managers('plain'), ['kubectl Apply'])
  })

  it('tells of conflicts, and forces them', async () => {
    await kubectl('apply', '--server-side', '--field-manager=ci', '-f', manifest('shared', 1, 'web:1'))
    await kubectl('scale', 'deployment', 'shared', '--replicas=4')
    const file = manifest('shared', 2, 'web:1')
    const refused = await fails('apply', '--server-side', '--field-manager=ci', '-f', file)
    assert.match(
      refused,
      /Apply failed with 1 conflict: conflict with "kubectl" with subresource "scale" using apps\/v1/,
    )
    assert.match(refused, /\.spec\.replicas/)
    await kubectl('apply', '--server-side', '--field-manager=ci', '--force-conflicts', '-f', file)
    assert.equal(await kubectl('get', 'deployment', 'shared', '-o', 'jsonpath={.spec.replicas}'), '2')
    assert.deepEqual(await managers('shared'), ['ci Apply'])
  })

  it('shows the difference, and a dry run changes nothing', async () => {
    await kubectl('apply', '--server-side', '-f', manifest('seen', 1, 'web:1'))
    const file = manifest('seen', 3, 'web:1')
    const difference = await fails('diff', '--server-side', '-f', file)
    assert.match(difference, /-\s+replicas: 1\n\+\s+replicas: 3/)
    await kubectl('apply', '--server-side', '--dry-run=server', '-f', file)
    assert.equal(await kubectl('get', 'deployment', 'seen', '-o', 'jsonpath={.spec.replicas}'), '1')
  })

  it('takes over what was applied on the client', async () => {
    await kubectl('apply', '-f', manifest('moved', 1, 'web:1'))
    assert.deepEqual(await managers('moved'), ['kubectl-client-side-apply Update'])
    await kubectl('apply', '--server-side', '-f', manifest('moved', 2, 'web:2'))
    const owners = await managers('moved')
    assert.ok(owners.includes('kubectl Apply'), owners.join())
    assert.ok(!owners.includes('kubectl-client-side-apply Update'), owners.join())
    // What the annotation says is kept, so that the client's way works on.
    const annotation = await kubectl('apply', 'view-last-applied', 'deployment', 'moved')
    assert.match(annotation, /replicas: 2/)
    assert.match(await kubectl('apply', '-f', manifest('moved', 3, 'web:2')), /configured/)
  })

  it('refuses what the schema does not know', async () => {
    const file = join(dir, 'bogus.yaml')
    writeFileSync(file, 'apiVersion: v1\nkind: ConfigMap\nmetadata: {name: bogus}\nbogus: 1\n')
    assert.match(
      await fails('apply', '--server-side', '--validate=ignore', '-f', file),
      /failed to create typed patch object \(default\/bogus; \/v1, Kind=ConfigMap\): \.bogus: field not declared in schema/,
    )
  })
})
