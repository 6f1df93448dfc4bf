// Images are judged by programs we did not write.
import assert from 'node:assert/strict'
import { execFileSync } from 'node:child_process'
import { cpSync, existsSync, readFileSync, rmSync } from 'node:fs'
import { join } from 'node:path'
import { after, before, describe, it } from 'node:test'
import { Home, missing, repository } from './support/machine.ts'

const skip = missing(['skopeo', 'umoci'], { root: true })

interface Built {
  images: { name: string; reference: string; digest: string; layers: { digest: string }[] }[]
}

describe('images of the example shop', { skip }, () => {
  let home: Home
  let built: Built
  let layout: string

  before(async () => {
    home = new Home()
    built = JSON.parse((await home.fairleadOk(['build', 'examples/shop', '--json'])).stdout)
    layout = join(home.dir, 'home', 'images')
  })

  after(async () => {
    await home[Symbol.asyncDispose]()
  })

  it('are accepted by skopeo inspect', () => {
    for (const { reference } of built.images) {
      const inspected = JSON.parse(
        execFileSync('skopeo', ['inspect', `oci:${layout}:${reference}`], { encoding: 'utf8' }),
      )
      assert.equal(inspected.Os, 'linux')
      assert.ok(inspected.Layers.length >= 3)
      assert.equal(inspected.Labels['org.opencontainers.image.title'] === undefined, false)
    }
  })

  it('start by way of the launcher of the kit they depend on', () => {
    for (const { reference } of built.images) {
      const text = execFileSync('skopeo', ['inspect', '--config', `oci:${layout}:${reference}`], { encoding: 'utf8' })
      assert.deepEqual(JSON.parse(text).config.Entrypoint, ['/nodejs/bin/node', 'launch.js', 'main.js'])
    }
  })

  it('are accepted by umoci unpack, and hold the bundle owned so that a non-root user can read it', () => {
    const [image] = built.images
    assert.ok(image !== undefined)
    // umoci resolves tags of its own layouts only: give it a copy under a plain name.
    const copy = join(home.dir, 'copy')
    execFileSync('skopeo', ['copy', '--quiet', `oci:${layout}:${image.reference}`, `oci:${copy}:app`])
    execFileSync('umoci', ['unpack', '--image', `${copy}:app`, join(home.dir, 'bundle')], { stdio: 'pipe' })
    const config = JSON.parse(readFileSync(join(home.dir, 'bundle', 'config.json'), 'utf8'))
    assert.equal(config.process.user.uid, 65532)
    assert.ok(existsSync(join(home.dir, 'bundle', 'rootfs', 'nodejs', 'bin', 'node')))
  })

  it('are identical to the bit when built twice, from another folder and an empty store', async () => {
    await using other = new Home()
    const dir = join(other.dir, 'clone')
    // The shop is a workspace of this repository; a second clone of the repository is its natural second build.
    execFileSync('git', ['clone', '--quiet', repository, dir])
    for (const folder of ['examples', 'packages'])
      cpSync(join(repository, folder), join(dir, folder), {
        recursive: true,
        filter: (file) => !file.includes('node_modules'),
      })
    execFileSync('cp', ['-al', join(repository, 'node_modules'), join(dir, 'node_modules')])
    const again: Built = JSON.parse((await other.fairleadOk(['build', join(dir, 'examples', 'shop'), '--json'])).stdout)
    assert.deepEqual(
      again.images.map(({ name, digest }) => [name, digest]),
      built.images.map(({ name, digest }) => [name, digest]),
    )
    rmSync(dir, { recursive: true })
  })
})
