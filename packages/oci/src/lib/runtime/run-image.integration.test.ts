import assert from 'node:assert/strict'
import { mkdtemp, open, readFile, readdir, rm, stat } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, before, describe, it } from 'node:test'

import { compressGzip } from '../archive/gzip.ts'
import type { TarEntry } from '../archive/entry.ts'
import { createTar } from '../archive/tar-writer.ts'
import { openLayout } from '../layout/layout.ts'
import type { Layout, ResolvedImage } from '../layout/layout.ts'
import { createDigester, digestOf } from '../spec/digest.ts'
import { mediaTypes } from '../spec/media-types.ts'
import { hostPlatform } from '../spec/platform.ts'
import { findCommand } from './command.ts'
import { detectCgroupLayout } from './cgroup.ts'
import { explainContainer } from './explain/explain.ts'
import type { ExplainedStep } from './explain/explain.ts'
import { mountPoints } from './overlay.ts'
import { runImage } from './run-image.ts'
import type { RunImageOptions } from './run-image.ts'

async function findObstacle(): Promise<string | undefined> {
  if (process.platform !== 'linux' || process.getuid?.() !== 0) return 'containers need root on Linux'
  for (const tool of ['runc', 'busybox']) if (!(await findCommand(tool))) return `${tool} is not installed`
  return undefined
}
const obstacle = await findObstacle()
if (obstacle !== undefined && process.env['CI'] === 'true') throw new Error(`Cannot test containers: ${obstacle}`)

describe('an image in the foreground', { skip: obstacle ?? false, timeout: 600_000 }, () => {
  let work: string
  let layout: Layout
  let image: ResolvedImage

  before(async () => {
    work = await mkdtemp(join(tmpdir(), 'fairlead-run-'))
    layout = await openLayout(join(work, 'images'))
    image = await writeImage()
  })
  after(() => rm(work, { recursive: true, force: true }))

  async function writeImage(): Promise<ResolvedImage> {
    const busybox = await readFile((await findCommand('busybox')) ?? '')
    const entries: TarEntry[] = [
      { path: 'bin', type: 'directory' },
      { path: 'bin/busybox', type: 'file', mode: 0o755, content: busybox },
      ...['sh', 'id', 'sleep'].map((name): TarEntry => ({ path: `bin/${name}`, type: 'symlink', linkPath: 'busybox' })),
      { path: 'tmp', type: 'directory', mode: 0o1777 },
      { path: 'proc', type: 'directory' },
    ]
    const content = createDigester()
    const tar = async function* (): AsyncGenerator<Uint8Array> {
      for await (const chunk of createTar(entries)) {
        content.update(chunk)
        yield chunk
      }
    }
    const layer = await layout.writeBlob(compressGzip(tar(), { level: 1 }))
    const { os, architecture } = hostPlatform()
    const config = Buffer.from(
      JSON.stringify({
        os,
        architecture,
        config: {
          User: '7:8',
          Env: ['WORD=image'],
          Entrypoint: ['/bin/sh', '-c'],
          Cmd: ['exit 3'],
          WorkingDir: '/tmp',
        },
        rootfs: { type: 'layers', diff_ids: [content.digest()] },
      }),
    )
    await layout.writeBlob(config)
    const manifest = await layout.writeJson(mediaTypes.manifest, {
      schemaVersion: 2,
      mediaType: mediaTypes.manifest,
      config: { mediaType: mediaTypes.config, digest: digestOf(config), size: config.byteLength },
      layers: [{ mediaType: mediaTypes.layerGzip, ...layer }],
    })
    await layout.tag('localhost/test:latest', manifest)
    return (await layout.resolve('localhost/test:latest')) ?? assert.fail()
  }

  /** Runs with the output gathered. */
  async function run(options: Partial<RunImageOptions> = {}): Promise<{ exitCode: number; output: string }> {
    const path = join(work, 'output')
    await using file = await open(path, 'w')
    const exitCode = await runImage(image, { ...dirs(), stdio: ['ignore', file.fd, file.fd], ...options })
    return { exitCode, output: await readFile(path, 'utf8') }
  }

  const dirs = (): Pick<RunImageOptions, 'dir' | 'layersDir' | 'layout'> => ({
    dir: join(work, 'run'),
    layersDir: join(work, 'layers'),
    layout,
  })

  async function nothingIsLeft(): Promise<void> {
    assert.deepEqual(await readdir(join(work, 'run')), [])
    assert.deepEqual(
      (await mountPoints()).filter((point) => point.startsWith(work)),
      [],
    )
    for (const hierarchy of ['', 'memory', 'pids']) {
      const names = await readdir(join('/sys/fs/cgroup', hierarchy)).catch(() => [])
      assert.deepEqual(
        names.filter((name) => name.startsWith('fairlead-run-')),
        [],
      )
    }
  }

  it('passes the exit code on, and leaves nothing', async () => {
    assert.equal((await run()).exitCode, 3)
    await nothingIsLeft()
  })

  it('runs as the user of the image, with arguments and variables in place of its own', async () => {
    const { output, exitCode } = await run({ args: ['id -u; echo $WORD $PWD'], env: { WORD: 'mine' } })
    assert.deepEqual([output, exitCode], ['7\nmine /tmp\n', 0])
  })

  it('says why a program could not be started', async () => {
    await assert.rejects(run({ command: ['/nowhere'] }), { code: 'FAIRLEAD_OCI_CONTAINER_START', message: /\/nowhere/ })
    await nothingIsLeft()
  })

  it('stops the program when it is aborted, and kills one that does not listen', async () => {
    const controller = new AbortController()
    const marker = join(work, 'started')
    const mounts = [{ source: work, destination: '/mnt' }]
    const ended = run({
      args: ['trap "" TERM; : > /mnt/started; while :; do sleep 1; done'],
      user: '0',
      mounts,
      security: { capabilities: ['CAP_DAC_OVERRIDE'] },
      stopTimeoutMs: 200,
      signal: controller.signal,
    })
    const isThere = (): Promise<boolean> =>
      stat(marker).then(
        () => true,
        () => false,
      )
    while (!(await isThere())) await new Promise((resolve) => setImmediate(resolve))
    controller.abort()
    assert.equal((await ended).exitCode, 137)
    await nothingIsLeft()
  })

  it('is explained: each step changes what it says, and the end is what the runtime makes', async () => {
    const path = join(work, 'explained')
    await using file = await open(path, 'w')
    const running = explainContainer(image, {
      ...dirs(),
      stdio: [file.fd, file.fd],
      command: ['/bin/sh', '-c', 'echo "$$ $(id -u) $PWD"; exit 4'],
    })
    const steps: ExplainedStep[] = []
    let result = await running.next()
    for (; !result.done; result = await running.next()) steps.push(result.value)
    assert.equal(await readFile(path, 'utf8'), '1 7 /tmp\n1 7 /tmp\n')
    assert.deepEqual(result.value.exitCodes, { byHand: 4, byRuntime: 4 })
    const changed = (title: string): string[] => {
      const at = steps.findIndex((step) => step.title === title)
      const [before, now] = [steps[at - 1]?.facts ?? {}, steps[at]?.facts ?? assert.fail()]
      return Object.keys(now).filter((name) => before[name] !== now[name])
    }
    assert.deepEqual(changed('IPC namespace'), ['namespace ipc'])
    assert.ok(changed('control group').includes('memory limit'))
    assert.deepEqual(changed('no new privileges'), ['NoNewPrivs'])
    const [last, ours] = [steps.at(-1)?.facts ?? {}, result.value.facts]
    const differing = Object.keys(ours).filter((name) => ours[name] !== last[name])
    // Beside version 1 both are in the tree of version 2 too, each under its name.
    const isHybrid = (await detectCgroupLayout()) === 'hybrid'
    const groups = ['control group', ...(isHybrid ? ['control group of version 2'] : [])]
    assert.deepEqual(differing, ['mounts', ...groups, 'Seccomp'])
    assert.deepEqual(changed('control group').includes('control group of version 2'), isHybrid)
    await nothingIsLeft()
  })

  it('leaves nothing when the explanation is broken off', async () => {
    for await (const { title } of explainContainer(image, dirs())) if (title === 'root file system') break
    await nothingIsLeft()
  })
})
