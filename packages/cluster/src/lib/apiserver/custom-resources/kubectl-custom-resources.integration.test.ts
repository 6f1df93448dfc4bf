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
import { widgetDefinition } from './test-definitions.ts'

const run = promisify(execFile)
const isSkipped = missesKubectl()

describe('kubectl with custom resources', { skip: isSkipped, timeout: 600_000 }, () => {
  const dir = mkdtempSync(join(tmpdir(), 'fairlead-custom-resources-'))
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

  async function kubectl(...args: string[]): Promise<string> {
    const { stdout, stderr } = await run('kubectl', args, { env, timeout: 60_000 })
    return stdout + stderr
  }

  async function kubectlWith(object: unknown, ...args: string[]): Promise<string> {
    const file = join(dir, 'input.json')
    writeFileSync(file, JSON.stringify(object))
    return await kubectl(...args, '-f', file)
  }

  function widget(size: number, more: Record<string, unknown> = {}): Record<string, unknown> {
    return { apiVersion: 'example.com/v1', kind: 'Widget', metadata: { name: 'a' }, spec: { size, ...more } }
  }

  it('defines them and finds them at once', async () => {
    const definition = widgetDefinition()
    definition.spec.versions[0].schema.openAPIV3Schema.properties.spec.properties.size.description = 'How many.'
    assert.match(await kubectlWith(definition, 'apply'), /customresourcedefinition.* created/)
    await kubectl('wait', '--for=condition=Established', 'crd/widgets.example.com', '--timeout=10s')
    assert.match(
      await kubectl('api-resources', '--api-group=example.com'),
      /widgets\s+wd\s+example\.com\/v1\s+true\s+Widget/,
    )
    assert.match(await kubectl('explain', 'widget.spec.size'), /FIELD: size <integer>[^]*How many\./)
    assert.match(await kubectl('get', 'crd'), /widgets\.example\.com/)
  })

  it('applies, shows and changes objects', async () => {
    assert.match(await kubectlWith(widget(1), 'apply'), /widget\.example\.com\/a created/)
    assert.match(await kubectlWith(widget(2), 'apply'), /widget\.example\.com\/a configured/)
    assert.match(await kubectl('get', 'wd'), /NAME\s+SIZE\s+AGE\na\s+2\s+\d+s/)
    assert.match(await kubectl('get', 'wd', '-o', 'wide'), /COLOUR[^]*red/)
    await kubectl('patch', 'widget', 'a', '--type=merge', '-p', '{"spec":{"colour":"green"}}')
    await kubectl('patch', 'widget', 'a', '--subresource=status', '--type=merge', '-p', '{"status":{"replicas":2}}')
    assert.match(await kubectl('scale', 'widget/a', '--replicas=7'), /widget\.example\.com\/a scaled/)
    assert.equal(await kubectl('get', 'widget', 'a', '-o', 'jsonpath={.spec.size} {.status.replicas}'), '7 2')
    assert.match(
      await kubectl('get', 'wd', '--field-selector=spec.colour=green', '-o', 'name'),
      /widget\.example\.com\/a/,
    )
    assert.match(await kubectl('describe', 'widget', 'a'), /Colour:\s+green/)
  })

  it('is told what is wrong', async () => {
    await assert.rejects(
      kubectlWith(widget(1, { sise: 1 }), 'apply'),
      /strict decoding error: unknown field "spec\.sise"/,
    )
    await assert.rejects(kubectlWith(widget(-1), 'apply'), /spec\.size in body should be greater than or equal to 0/)
  })

  it('applies on the server and owns fields', async () => {
    const applied = widget(3)
    await kubectlWith(applied, 'apply', '--server-side', '--force-conflicts')
    const managers = await kubectl(
      'get',
      'widget',
      'a',
      '--show-managed-fields',
      '-o',
      'jsonpath={.metadata.managedFields[*].manager}',
    )
    assert.match(managers, /kubectl/)
  })

  it('deletes the definition with its objects', async () => {
    assert.match(await kubectl('delete', 'crd', 'widgets.example.com'), /deleted/)
    await assert.rejects(
      kubectl('get', 'widgets'),
      /could not find the requested resource|doesn't have a resource type/,
    )
  })
})
