// buildah building the Dockerfile that `fairlead eject dockerfile` writes, on the same base and Node.js, without a registry.
import { execFileSync } from 'node:child_process'
import { cpSync, mkdirSync, realpathSync, symlinkSync, writeFileSync } from 'node:fs'
import { dirname, join } from 'node:path'

export interface Peer {
  /** Seconds of `buildah build`, with its cache as the build before left it. */
  build(...args: string[]): number
  /** Compressed bytes of the layers that this build made and the one before did not have. */
  newBytes(): number
  close(): void
}

/** What is below: blobs of the layers of base and Node.js of an image of ours. */
export function openPeer(dir: string, project: string, layers: readonly string[]): Peer {
  const flags = ['--root', join(dir, 'root'), '--runroot', join(dir, 'run'), '--storage-driver', 'overlay']
  const env = { ...process.env, BUILDAH_ISOLATION: 'chroot', TMPDIR: dir }
  const buildah = (...args: string[]): string =>
    execFileSync('buildah', [...flags, ...args], { env, encoding: 'utf8', stdio: ['ignore', 'pipe', 'pipe'] }).trim()

  for (const name of ['runtime', 'builder']) {
    const container = buildah('from', 'scratch')
    const root = buildah('mount', container)
    for (const layer of layers) execFileSync('tar', ['xpzf', layer, '-C', root, '--numeric-owner'])
    if (name === 'builder') addBuilder(root)
    buildah('umount', container)
    buildah(
      'config',
      '--env',
      'PATH=/nodejs/bin:/usr/bin:/bin',
      '--user',
      name === 'builder' ? '0' : '65532',
      container,
    )
    buildah('commit', '--quiet', '--rm', container, `localhost/${name}`)
  }
  const npmConfig = (key: string): string => execFileSync('npm', ['config', 'get', key], { encoding: 'utf8' }).trim()
  writeFileSync(join(dir, 'npmrc'), `prefer-offline=true\ncache=/npm-cache\nregistry=${npmConfig('registry')}\n`)
  const seen = new Set<string>()
  let fresh = 0
  return {
    build(...args) {
      const startedAt = performance.now()
      buildah(
        'build',
        '--quiet',
        '--layers',
        '--pull=never',
        '--tag',
        'localhost/app',
        '--build-arg',
        'BUILD_IMAGE=localhost/builder',
        '--build-arg',
        'RUNTIME_IMAGE=localhost/runtime',
        '--secret',
        `id=npmrc,src=${join(dir, 'npmrc')}`,
        '--volume',
        `${npmConfig('cache')}:/npm-cache`,
        ...args,
        project,
      )
      const seconds = (performance.now() - startedAt) / 1000
      fresh = 0
      buildah('push', '--quiet', 'localhost/app', `oci:${join(dir, 'pushed')}:app`)
      const raw = execFileSync('skopeo', ['inspect', '--raw', `oci:${join(dir, 'pushed')}:app`], { encoding: 'utf8' })
      for (const { digest, size } of (JSON.parse(raw) as { layers: { digest: string; size: number }[] }).layers) {
        if (!seen.has(digest)) fresh += size
        seen.add(digest)
      }
      return seconds
    },
    newBytes: () => fresh,
    close: () => void buildah('umount', '--all'),
  }
}

/** npm as it is installed here, and a shell. */
function addBuilder(root: string): void {
  const which = (name: string): string => execFileSync('which', [name], { encoding: 'utf8' }).trim()
  cpSync(dirname(dirname(realpathSync(which('npm')))), join(root, 'opt/npm'), { recursive: true, dereference: true })
  mkdirSync(join(root, 'usr/bin'), { recursive: true })
  cpSync(which('busybox'), join(root, 'usr/bin/busybox'))
  for (const name of ['sh', 'mkdir', 'rm', 'uname', 'env']) symlinkSync('busybox', join(root, 'usr/bin', name))
  const script = '#!/usr/bin/sh\nexec /nodejs/bin/node /opt/npm/bin/npm-cli.js "$@"\n'
  writeFileSync(join(root, 'usr/bin/npm'), script, { mode: 0o755 })
  symlinkSync('usr/bin', join(root, 'bin'))
}
