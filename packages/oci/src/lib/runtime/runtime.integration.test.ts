import assert from 'node:assert/strict'
import { createHash } from 'node:crypto'
import { existsSync } from 'node:fs'
import { mkdir, mkdtemp, readFile, readdir, rename, rm, stat, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import type { Readable } from 'node:stream'
import { join } from 'node:path'
import { describe, it } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'

import { createTar } from '../archive/tar-writer.ts'
import type { TarEntry } from '../archive/entry.ts'
import { openLayout } from '../layout/layout.ts'
import type { Layout, ResolvedImage } from '../layout/layout.ts'
import { digestOf } from '../spec/digest.ts'
import { mediaTypes } from '../spec/media-types.ts'
import { hostPlatform } from '../spec/platform.ts'
import { findCommand, runCommand } from './command.ts'
import type { ContainerRuntime, ContainerSpec, ContainerState } from './driver.ts'
import { openOciRuntime } from './oci-runtime.ts'
import { mountPoints, unmountAll } from './overlay.ts'
import { openProcessRuntime } from './process-runtime.ts'

const obstacle = await findObstacle()
if (obstacle !== undefined && process.env['CI'] === 'true') throw new Error(`Cannot test containers: ${obstacle}`)

async function findObstacle(): Promise<string | undefined> {
  if (process.platform !== 'linux' || process.getuid?.() !== 0) return 'containers need root on Linux'
  for (const tool of ['runc', 'conmon']) if (!(await findCommand(tool))) return `${tool} is not installed`
  return (await findCommand('busybox')) ? undefined : 'busybox is not installed'
}

/** A fresh store with one image in it: busybox and a user database. */
async function openWorkshop(): Promise<AsyncDisposable & { dir: string; layout: Layout; image: ResolvedImage }> {
  const dir = await mkdtemp(join(tmpdir(), 'fairlead-runtime-'))
  const layout = await openLayout(join(dir, 'images'))
  const busybox = await readFile((await findCommand('busybox')) ?? '/bin/busybox')
  const base: TarEntry[] = [
    { path: 'bin', type: 'directory' },
    { path: 'bin/busybox', type: 'file', mode: 0o755, content: busybox },
    ...['sh', 'sleep', 'id', 'cat', 'true', 'touch', 'head', 'tr', 'stty', 'tty'].map((name): TarEntry => ({
      path: `bin/${name}`,
      type: 'symlink',
      linkPath: 'busybox',
    })),
    { path: 'etc', type: 'directory' },
    { path: 'etc/passwd', type: 'file', content: Buffer.from('root:x:0:0::/root:/bin/sh\napp:x:7:8::/srv:/bin/sh\n') },
    { path: 'etc/group', type: 'file', content: Buffer.from('root:x:0:\napp:x:8:\nextra:x:9:app\n') },
    { path: 'etc/gone', type: 'file', content: Buffer.from('of the lower layer') },
  ]
  const top: TarEntry[] = [
    { path: 'etc/.wh.gone', type: 'file', content: Buffer.alloc(0) },
    { path: 'srv/word', type: 'file', content: Buffer.from('hello') },
  ]
  const image = await writeImage(layout, [base, top])
  return { dir, layout, image, [Symbol.asyncDispose]: () => rm(dir, { recursive: true, force: true }) }
}

async function writeImage(layout: Layout, layers: readonly (readonly TarEntry[])[]): Promise<ResolvedImage> {
  const stored = []
  for (const entries of layers) {
    const tar = await gather(createTar(entries))
    stored.push({ mediaType: mediaTypes.layer, ...(await layout.writeBlob(tar)), diffId: digestOf(tar) })
  }
  const config = await layout.writeJson(mediaTypes.config, {
    ...hostPlatform(),
    config: { User: 'app', Env: ['COLOUR=blue'], WorkingDir: '/srv', Entrypoint: ['sh', '-c'] },
    rootfs: { type: 'layers', diff_ids: stored.map(({ diffId }) => diffId) },
  })
  const manifest = await layout.writeJson(mediaTypes.manifest, {
    schemaVersion: 2,
    mediaType: mediaTypes.manifest,
    config,
    layers: stored.map(({ mediaType, digest, size }) => ({ mediaType, digest, size })),
  })
  await layout.tag('localhost/test:1', manifest)
  const image = await layout.resolve('localhost/test:1')
  assert.ok(image)
  return image
}

async function until<T>(look: () => Promise<T | undefined | false>, what: string): Promise<T> {
  const deadline = Date.now() + 60_000
  for (;;) {
    const found = await look()
    if (found !== undefined && found !== false) return found
    if (Date.now() > deadline) throw new Error(`waited in vain until ${what}`)
    await sleep(10)
  }
}

interface Started extends AsyncDisposable {
  readonly runtime: ContainerRuntime
  readonly id: string
  readonly logPath: string
}

async function gatherText(stream: Readable | undefined): Promise<string> {
  return stream === undefined ? '' : Buffer.concat((await stream.toArray()) as Buffer[]).toString()
}

function exited(runtime: ContainerRuntime, id: string): Promise<ContainerState> {
  return until(async () => {
    const state = await runtime.state(id)
    return state?.status === 'exited' && state
  }, `${id} has exited`)
}

async function logged(path: string): Promise<string> {
  const text = await readFile(path, 'utf8').catch(() => '')
  return text.replaceAll(/^\S+ /gm, '')
}

for (const [name, open] of [
  ['openOciRuntime', openOciRuntime],
  ['openProcessRuntime', openProcessRuntime],
] as const) {
  describe(name, { skip: obstacle }, () => {
    async function openIn(workshop: { dir: string; layout: Layout }): Promise<ContainerRuntime> {
      return open({
        dir: join(workshop.dir, 'run'),
        layersDir: join(workshop.dir, `layers-${name}`),
        layout: workshop.layout,
        superviseMs: 50,
      })
    }

    it('runs a program to its end: output, environment, directory and exit code', async () => {
      await using workshop = await openWorkshop()
      const runtime = await openIn(workshop)
      const logPath = join(workshop.dir, 'log')
      const ended = new Promise<void>((resolve) => void runtime.onExit((id) => id === 'one' && resolve()))
      const args = ['echo $COLOUR $SIZE; echo $(cat word); echo bad >&2; test ! -e ../etc/gone && exit 3']
      await runtime.create({ id: 'one', image: workshop.image, logPath, args, env: { SIZE: 'big' } })
      await runtime.start('one')
      await ended
      const state = await exited(runtime, 'one')
      assert.equal(state.exitCode, 3)
      const lines = (await logged(logPath)).trim().split('\n')
      assert.deepEqual(lines.toSorted(), ['stderr F bad', 'stdout F blue big', 'stdout F hello'])
      await runtime.delete('one')
      assert.deepEqual(await runtime.list(), [])
      assert.equal(await runtime.state('one'), undefined)
      await runtime.close()
    })

    it('has a mount at the place a variable names', async () => {
      await using workshop = await openWorkshop()
      const runtime = await openIn(workshop)
      const source = join(workshop.dir, 'volume')
      await mkdir(source)
      await writeFile(join(source, 'file'), 'from the host')
      const logPath = join(workshop.dir, 'log')
      const mounts = [{ source, destination: '/volume' }]
      const env = { FILE: '/volume/file' }
      await runtime.create({ id: 'mounted', image: workshop.image, logPath, args: ['cat $FILE'], env, mounts })
      await runtime.start('mounted')
      await exited(runtime, 'mounted')
      assert.match(await logged(logPath), /from the host/)
      await runtime.delete('mounted')
      await runtime.close()
    })

    it('lets another process take over: nothing of a container depends on who made it', async () => {
      await using workshop = await openWorkshop()
      const logPath = join(workshop.dir, 'log')
      const first = await openIn(workshop)
      const args = ['echo up; while [ ! -e /tmp/fairlead-never ]; do sleep 0.05; done']
      await first.create({ id: 'two', image: workshop.image, logPath, args, user: '0' })
      await first.start('two')
      await until(async () => (await logged(logPath)).includes('up'), 'the program speaks')
      await first.close()

      const second = await openIn(workshop)
      assert.equal((await second.state('two'))?.status, 'running')
      await rename(logPath, `${logPath}.1`)
      await second.reopenLog('two')
      await until(async () => existsSync(logPath), 'the log is written anew')
      assert.equal((await second.exec('two', { args: ['sh', '-c', 'echo $COLOUR; exit 4'] })).exitCode, 4)
      const slow = await second.exec('two', { args: ['sleep', '30'], timeoutMs: 50 })
      assert.equal(slow.exitCode, undefined)
      await second.kill('two', 'SIGKILL')
      assert.equal((await exited(second, 'two')).exitCode, 137)
      await second.delete('two')
      await second.close()
      assert.deepEqual(
        (await mountPoints()).filter((point) => point.startsWith(workshop.dir)),
        [],
      )
    })

    it('runs a program with its streams at hand: input to its end, both outputs, exit code', async () => {
      await using started = await openStarted()
      const { runtime, id } = started
      const args = ['sh', '-c', 'cat; echo bad >&2; exit 7']
      const session = await runtime.openExec(id, { args, stdin: true })
      session.stdin?.end('a'.repeat(3_000_000))
      const [out, err] = await Promise.all([gatherText(session.stdout), gatherText(session.stderr)])
      assert.equal(out.length, 3_000_000)
      assert.equal(err, 'bad\n')
      assert.equal(await session.ended, 7)
      await assert.rejects(runtime.openExec(id, { args: ['no-such-program'] }), {
        code: 'FAIRLEAD_OCI_EXEC',
        message: /exec: "no-such-program": executable file not found in \$PATH/,
      })
    })

    it('runs a program at a terminal of the size told, and hangs it up', async () => {
      await using started = await openStarted()
      const { runtime, id } = started
      const session = await runtime.openExec(id, { args: ['sh'], stdin: true, tty: true })
      await session.resize(91, 37)
      session.stdin?.write('stty size; tty; exec sleep 1000\n')
      let seen = ''
      session.stdout.on('data', (chunk: Buffer) => (seen += chunk.toString()))
      await until(async () => /37 91\r\n\/dev\/pts\/\d+/.test(seen), `the terminal tells its size`)
      session.hangUp()
      assert.notEqual(await session.ended, 0)
    })

    it('attaches to the streams of a running container', async () => {
      await using started = await openStarted({ args: ['cat; echo end >&2; exit 5'], stdin: true, stdinOnce: true })
      const { runtime, id } = started
      const watching = await runtime.attach(id, { stdin: false })
      const writing = await runtime.attach(id, { stdin: true })
      assert.equal(watching.stdin, undefined)
      writing.stdin?.end('hello\n')
      const texts = await Promise.all([watching, writing].map(({ stdout }) => gatherText(stdout)))
      assert.deepEqual(texts, ['hello\n', 'hello\n'])
      assert.equal(await gatherText(watching.stderr), 'end\n')
      assert.equal(await writing.ended, undefined)
      assert.equal((await exited(runtime, id)).exitCode, 5)
      assert.match(await logged(started.logPath), /stdout F hello/)
    })

    it('attaches to a container at a terminal', async () => {
      await using started = await openStarted({ args: ['exec sh'], stdin: true, tty: true })
      const { runtime, id } = started
      const session = await runtime.attach(id, { stdin: true })
      let seen = ''
      session.stdout.on('data', (chunk: Buffer) => (seen += chunk.toString()))
      await session.resize(77, 33)
      // Counted, so that the echo of the line is not taken for its output.
      session.stdin?.write('until [ "$(stty size)" = "33 77" ]; do sleep 0.1; done; echo $((40 + 2)) is it\n')
      await until(async () => seen.includes('42 is it'), 'the terminal tells its size')
      session.stdin?.write('exit 6\n')
      await session.ended
      assert.equal((await exited(runtime, id)).exitCode, 6)
    })

    /** A container that runs until it is told to end. */
    async function openStarted(more: Partial<ContainerSpec> = {}): Promise<Started> {
      const workshop = await openWorkshop()
      const runtime = await openIn(workshop)
      const logPath = join(workshop.dir, 'log')
      await runtime.create({
        id: 'here',
        image: workshop.image,
        logPath,
        args: ['exec sleep 1000'],
        user: '0',
        ...more,
      })
      await runtime.start('here')
      return {
        runtime,
        id: 'here',
        logPath,
        async [Symbol.asyncDispose]() {
          await runtime.delete('here')
          await runtime.close()
          await workshop[Symbol.asyncDispose]()
        },
      }
    }

    it('announces a container whose monitor was killed', async () => {
      await using workshop = await openWorkshop()
      const runtime = await openIn(workshop)
      const told = new Promise<void>((resolve) => void runtime.onExit((id) => id === 'three' && resolve()))
      await runtime.create({
        id: 'three',
        image: workshop.image,
        logPath: join(workshop.dir, 'log'),
        args: ['sleep 60'],
      })
      await runtime.start('three')
      const record = JSON.parse(await readFile(join(workshop.dir, 'run/containers/three/container.json'), 'utf8')) as {
        monitor: string
      }
      process.kill(Number(record.monitor.split('/')[1]), 'SIGKILL')
      await told
      const state = await runtime.state('three')
      assert.ok(state?.status === 'exited' || state?.isUnsupervised)
      await runtime.delete('three')
      await runtime.close()
    })
  })
}

describe('openOciRuntime', { skip: obstacle }, () => {
  async function run(
    script: string,
    spec: Partial<Parameters<ContainerRuntime['create']>[0]> = {},
  ): Promise<{ state: ContainerState; output: string }> {
    await using workshop = await openWorkshop()
    const runtime = await openOciRuntime({
      dir: join(workshop.dir, 'run'),
      layersDir: join(workshop.dir, 'layers'),
      layout: workshop.layout,
    })
    await mkdir(join(workshop.dir, 'volume'))
    await writeFile(join(workshop.dir, 'volume/file'), 'from the host')
    const mounts = [{ destination: '/volume', source: join(workshop.dir, 'volume'), readOnly: true }]
    const logPath = join(workshop.dir, 'log')
    const id = 'confined'
    let state: ContainerState
    try {
      await runtime.create({
        id,
        image: workshop.image,
        logPath,
        args: [script],
        mounts,
        cgroupPath: '/fairlead-test/c',
        ...spec,
      })
      await runtime.start(id)
      state = await exited(runtime, id)
      await runtime.delete(id)
    } finally {
      await runtime.removeCgroup('/fairlead-test')
      await runtime.close()
    }
    assert.equal(existsSync('/sys/fs/cgroup/memory/fairlead-test'), false)
    return { state, output: await logged(logPath) }
  }

  it('gives a program the user of its image, no capabilities, and mounts it may not write to', async () => {
    const script = 'id; cat /volume/file; echo; touch /volume/x || echo refused; cat /proc/self/status | head -n 60'
    const { output } = await run(script)
    assert.match(output, /uid=7\(app\) gid=8\(app\) groups=.*9\(extra\)/)
    assert.match(output, /from the host/)
    assert.match(output, /refused/)
    assert.match(output, /CapBnd:\s+0+$/m)
    assert.match(output, /NoNewPrivs:\s+1/)
    assert.match(output, /Seccomp:\s+2/)
  })

  it('tells whom a container runs as, and keeps the layers it stands on whatever becomes of its image', async () => {
    await using workshop = await openWorkshop()
    const { layout, image, dir } = workshop
    const runtime = await openOciRuntime({ dir: join(dir, 'run'), layersDir: join(dir, 'layers'), layout })
    await runtime.create({ id: 'stays', image, logPath: join(dir, 'log'), args: ['exec sleep 1000'] })
    await runtime.start('stays')
    assert.deepEqual((await runtime.state('stays'))?.user, { uid: 7, gid: 8, gids: [8, 9] })
    await runtime.prune([], 0)
    assert.equal((await runtime.exec('stays', { args: ['cat', '/srv/word'] })).output, 'hello')
    await runtime.delete('stays')
    await runtime.prune([], 0)
    assert.deepEqual(await readdir(join(dir, 'layers')), ['.ingest'])
    await runtime.close()
  })

  it('keeps the root file system as it is when asked to', async () => {
    const { output } = await run('touch /etc/x || echo refused', { user: '0', security: { readOnlyRoot: true } })
    assert.match(output, /refused/)
  })

  it('tells a container that ran out of memory', async () => {
    const { state } = await run('head -c 200000000 /dev/zero | tr "\\\\000" x | (x=$(cat); true)', {
      resources: { memoryBytes: 20_000_000, cpuShares: 100, cpuLimit: 1, pids: 20 },
    })
    assert.equal(state.oomKilled, true)
  })

  it('says what is wrong with a program that is not there, and leaves nothing behind', async () => {
    await using networks = await openNetworks()
    for (const networkNamespace of [undefined, networks.own]) {
      await assert.rejects(run('', { command: ['/no/such/program'], networkNamespace }), {
        code: 'FAIRLEAD_OCI_CONTAINER_START',
        message: /no such file or directory/,
      })
    }
  })

  it('puts a container into its network namespace, of which there are many', async () => {
    await using networks = await openNetworks()
    const { output } = await run('busybox readlink /proc/self/ns/net', { networkNamespace: networks.own })
    assert.match(output, new RegExp(`net:\\[${(await stat(networks.own)).ino}\\]`))
  })

  it('leaves nothing of one that has ended with the runtime, nor of one that is told to end', async () => {
    await using workshop = await openWorkshop()
    const dirs = { dir: join(workshop.dir, 'run'), layersDir: join(workshop.dir, 'layers'), layout: workshop.layout }
    const runtime = await openOciRuntime(dirs)
    const hash = createHash('sha256').update(dirs.dir).digest('hex').slice(0, 12)
    const known = (): Promise<string[]> => readdir(join('/run/fairlead', hash, 'runtime'))
    try {
      for (const script of ['exit 3', 'sleep 300']) {
        const logPath = join(workshop.dir, 'log')
        const cgroupPath = '/fairlead-test-ended/c'
        await runtime.create({ id: 'one', image: workshop.image, logPath, args: [script], cgroupPath })
        await runtime.start('one')
        if (script.startsWith('exit')) await exited(runtime, 'one')
        assert.deepEqual(await known(), ['one'])
        await runtime.delete('one')
        assert.deepEqual(await known(), [], script)
        assert.equal(existsSync(`/sys/fs/cgroup/pids${cgroupPath}`), false, script)
        const left = (await mountPoints()).filter((point) => point.startsWith(workshop.dir))
        assert.deepEqual(left, [], script)
      }
    } finally {
      await runtime.removeCgroup('/fairlead-test-ended')
      await runtime.close()
    }
  })
})

/** A folder of network namespaces as `ip netns` keeps them: a mount that has mounts in it. */
async function openNetworks(): Promise<AsyncDisposable & { readonly own: string }> {
  const folder = await mkdtemp(join(tmpdir(), 'fairlead-networks-'))
  const own = join(folder, 'own')
  await Promise.all(Array.from({ length: 60 }, (_, number) => writeFile(join(folder, `other-${number}`), '')))
  await writeFile(own, '')
  await runCommand('mount', ['--bind', folder, folder])
  await runCommand('mount', ['--make-private', folder])
  await runCommand('unshare', [`--net=${own}`, 'true'])
  const close = async (): Promise<void> => {
    await unmountAll(folder)
    await rm(folder, { recursive: true })
  }
  return { own, [Symbol.asyncDispose]: close }
}

async function gather(stream: AsyncIterable<Uint8Array>): Promise<Buffer> {
  const chunks: Uint8Array[] = []
  for await (const chunk of stream) chunks.push(chunk)
  return Buffer.concat(chunks)
}
