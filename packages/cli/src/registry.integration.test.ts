import assert from 'node:assert/strict'
import { spawn, spawnSync } from 'node:child_process'
import { once } from 'node:events'
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { describe, it } from 'node:test'
import { openLayout } from '@fairlead/oci/layout'

const program = [
  '--conditions=@fairlead/source',
  '--disable-warning=ExperimentalWarning',
  join(import.meta.dirname, 'main.ts'),
]

describe('fairlead registry serve and image fsck', { timeout: 600_000 }, () => {
  it('serves the image store until Ctrl-C, and finds what is damaged in it', async () => {
    const home = await mkdtemp(join(tmpdir(), 'fairlead-cli-'))
    const env = { ...process.env, FAIRLEAD_HOME: home, FAIRLEAD_CACHE: join(home, 'cache') }
    const child = spawn(process.execPath, [...program, 'registry', 'serve', '--port', '0', '--json'], {
      env,
      stdio: ['ignore', 'pipe', 'ignore'],
    })
    try {
      const [line] = (await once(createInterface(child.stdout), 'line')) as [string]
      const { url, dir } = JSON.parse(line) as { url: string; dir: string }
      const layout = await openLayout(dir)
      const config = { os: 'linux', architecture: 'amd64', rootfs: { type: 'layers', diff_ids: [] } }
      const described = await layout.writeJson('application/vnd.oci.image.config.v1+json', config)
      const mediaType = 'application/vnd.oci.image.manifest.v1+json'
      const manifest = { schemaVersion: 2, mediaType, config: described, layers: [] }
      await layout.tag('localhost/shop/web:1', await layout.writeJson(mediaType, manifest))
      assert.equal((await fetch(`${url}/v2/shop/web/manifests/1`)).status, 200)
      const check = (...words: string[]): { status: number | null; stdout: string } =>
        spawnSync(process.execPath, [...program, 'image', 'fsck', ...words], { env, encoding: 'utf8' })
      assert.equal(check().status, 0)
      await writeFile(layout.blobPath(described.digest), 'damaged')
      const { status, stdout } = check('--json')
      const report = JSON.parse(stdout) as { isIntact: boolean; problems: { kind: string; digest: string }[] }
      assert.deepEqual([status, report.isIntact], [1, false])
      assert.deepEqual(
        report.problems.map(({ kind, digest }) => [kind, digest]),
        [['corrupt', described.digest]],
      )
      assert.equal(check(join(home, 'none')).status, 2)
      child.kill('SIGINT')
      const [code] = (await once(child, 'close')) as [number]
      assert.equal(code, 0)
    } finally {
      child.kill('SIGKILL')
      await rm(home, { recursive: true, force: true })
    }
  })
})
