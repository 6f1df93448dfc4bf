import assert from 'node:assert/strict'
import { mkdirSync, mkdtempDisposableSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { describe, it } from 'node:test'
import { loadApp } from './load.ts'

/** A temporary folder with these files, removed when disposed. */
function folder(files: Record<string, string>): Disposable & { path: string } {
  const created = mkdtempDisposableSync(join(tmpdir(), 'fairlead-app-'))
  for (const [name, text] of Object.entries(files)) {
    mkdirSync(dirname(join(created.path, name)), { recursive: true })
    writeFileSync(join(created.path, name), text)
  }
  return { path: created.path, [Symbol.dispose]: () => created.remove() }
}

describe('loadApp', () => {
  it('takes a folder with a package.json alone as an app of one service', async () => {
    using app = folder({ 'package.json': '{"name":"@acme/Legacy.App","version":"2.1.0"}' })
    const { name, services } = await loadApp(app.path)
    assert.equal(name, 'legacy-app')
    assert.deepEqual(
      services.map((service) => [service.name, service.version, service.public, service.health.kind]),
      [['legacy-app', '2.1.0', 8080, 'tcp']],
    )
  })

  it('runs a TypeScript config, in a folder without this package installed', async () => {
    using app = folder({
      'fairlead.config.ts': `import { defineApp } from '@fairlead/delivery/app'
const replicas: number = 2
export default defineApp({ name: 'shop', services: { web: { replicas } } })`,
      'web/package.json': '{"dependencies":{"@fairlead/service":"1.0.0"}}',
    })
    const { name, services } = await loadApp(app.path)
    assert.equal(name, 'shop')
    assert.equal(services[0]?.replicas, 2)
    assert.equal(services[0]?.health.kind, 'http')
  })

  it('reads JSON', async () => {
    using app = folder({ 'fairlead.config.json': '{"name":"shop","services":{"web":{"dir":"."}}}' })
    assert.equal((await loadApp(app.path)).services[0]?.dir, app.path)
  })

  const broken = [
    {
      name: 'TypeScript',
      file: 'fairlead.config.ts',
      text: 'export default {\n  name: "x"\n  services: {},\n}',
      line: 3,
    },
    {
      name: 'TypeScript that has to be compiled',
      file: 'fairlead.config.ts',
      text: 'enum A { B }\nexport default {}',
      line: 1,
    },
    {
      name: 'JavaScript',
      file: 'fairlead.config.mjs',
      text: 'export default {\n  name: "x"\n  services: {},\n}',
      line: 3,
    },
    { name: 'JSON', file: 'fairlead.config.json', text: '{\n  "name": "x"\n  "services": {}\n}', line: 3 },
  ]
  for (const { name, file, text, line } of broken) {
    it(`names file and line of a syntax error in ${name}`, async () => {
      using app = folder({ [file]: text })
      await assert.rejects(loadApp(app.path), (error: Error & { code?: string }) => {
        assert.equal(error.code, 'FAIRLEAD_DELIVERY_APP_SYNTAX')
        assert.ok(error.message.startsWith(`Cannot parse app "${join(app.path, file)}:${line}": `), error.message)
        return true
      })
    })
  }

  it('names the line at which a config throws, and why', async () => {
    using app = folder({ 'fairlead.config.ts': 'const x: any = undefined\nexport default { name: x.y }' })
    await assert.rejects(loadApp(app.path), (error: Error & { code?: string }) => {
      assert.equal(error.code, 'FAIRLEAD_DELIVERY_APP_LOAD')
      assert.equal(
        error.message,
        `Cannot load app "${join(app.path, 'fairlead.config.ts')}:2": it threw while it was loaded`,
      )
      assert.ok(error.cause instanceof TypeError)
      return true
    })
  })

  it('refuses a config without default export', async () => {
    using app = folder({ 'fairlead.config.ts': 'export const app = {}' })
    await assert.rejects(loadApp(app.path), { code: 'FAIRLEAD_DELIVERY_APP_LOAD' })
  })

  it('refuses an empty folder', async () => {
    using app = folder({})
    await assert.rejects(loadApp(app.path), { code: 'FAIRLEAD_DELIVERY_APP_ABSENT' })
  })

  it('does not wait for ever for a config that does not end', async () => {
    using app = folder({ 'fairlead.config.mjs': 'await new Promise(() => {})' })
    await assert.rejects(loadApp(app.path, { timeoutMs: 50 }), {
      code: 'FAIRLEAD_DELIVERY_APP_LOAD',
      message: `Cannot load app "${join(app.path, 'fairlead.config.mjs')}": it is not loaded after 0.05 s`,
    })
  })

  it('stops waiting when it is aborted', async () => {
    using app = folder({ 'fairlead.config.mjs': 'await new Promise(() => {})' })
    const reason = new Error('enough')
    await assert.rejects(loadApp(app.path, { signal: AbortSignal.abort(reason) }), reason)
  })
})
