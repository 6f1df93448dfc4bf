import assert from 'node:assert/strict'
import { spawn } from 'node:child_process'
import { createHash, randomBytes } from 'node:crypto'
import { mkdir, readFile, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { after, before, describe, it } from 'node:test'

import { openKubectl, run } from './testing/kubectl.ts'
import type { Kubectl, Ran, RunOptions } from './testing/kubectl.ts'
import { IMAGE, isReady, openWorld, skipReason, until } from './testing/world.ts'
import type { World } from './testing/world.ts'

const skip = skipReason()
const server = 'echo hello from the pod > /www/index.html; httpd -p 8080 -h /www; exec sleep 1000'

function digest(bytes: Buffer): string {
  return createHash('sha256').update(bytes).digest('hex')
}

for (const [protocol, env] of [
  ['WebSocket', {}],
  ['SPDY', { KUBECTL_REMOTE_COMMAND_WEBSOCKETS: 'false', KUBECTL_PORT_FORWARD_WEBSOCKETS: 'false' }],
] as const) {
  describe(`kubectl by ${protocol}`, { skip, timeout: 600_000 }, () => {
    let world: World
    let kubectl: Kubectl

    before(async () => {
      world = await openWorld()
      await world.startAgent()
      kubectl = await openKubectl(world)
      await world.createPod('web', { args: [server] })
      await world.createPod('shell', { args: ['exec sh'], stdin: true, tty: true })
      await world.createPod(
        'reader',
        { args: ['cat; echo done >&2; exit 0'], stdin: true, stdinOnce: true },
        { restartPolicy: 'Never' },
      )
      await world.createPod('keeper', { args: ['cat'], stdin: true })
      for (const pod of ['web', 'shell', 'reader', 'keeper']) await world.pod(pod, isReady, 'is ready')
    })
    after(() => world[Symbol.asyncDispose]())

    const call = (args: readonly string[], options: RunOptions = {}): Promise<Ran> =>
      kubectl.run(args, { ...options, env: { ...kubectl.env, ...env } })

    it('runs a program with both outputs and its exit code', async () => {
      const { code, stdout, stderr } = await call(['exec', 'web', '--', 'sh', '-c', 'echo out; echo err >&2; exit 3'])
      assert.equal(stdout.toString(), 'out\n')
      assert.match(stderr, /^err\n/)
      assert.match(stderr, /command terminated with exit code 3/)
      assert.equal(code, 3)
    })

    it('says what the runtime said of a program that is not there', async () => {
      const { code, stderr } = await call(['exec', 'web', '--', 'no-such-program'])
      assert.match(stderr, /error executing command in container: .*exec: "no-such-program": executable file not found/)
      assert.equal(code, 1)
    })

    it('carries megabytes both ways unchanged', async () => {
      const input = randomBytes(5_000_000)
      const { code, stdout, stderr } = await call(['exec', '-i', 'web', '--', 'cat'], { input })
      assert.equal(stderr, '')
      assert.equal(code, 0)
      assert.equal(digest(stdout), digest(input))
    })

    it('gives a program a terminal', async () => {
      const line = 'stty rows 31 cols 97; kubectl exec -it web -- sh'
      const args = ['-qec', line, '/dev/null']
      const { stdout } = await run('script', args, {
        input: 'stty size; exit 4\n',
        env: { ...kubectl.env, ...env, SHELL: '/bin/sh' },
      })
      assert.match(stdout.toString(), /31 97/)
      assert.match(stdout.toString(), /command terminated with exit code 4/)
    })

    it('attaches to a running container', async () => {
      const { stdout, stderr } = await call(['attach', '-i', 'reader', '--quiet'], {
        input: 'words\n',
        timeoutMs: 2000,
      })
      assert.match(stdout.toString() + stderr, /words/)
    })

    it('lets go at the end of input of a program that keeps its own open', async () => {
      const { code, stderr } = await call(['attach', '-i', 'keeper', '--quiet'], { input: 'kept\n', timeoutMs: 60_000 })
      assert.equal(code, 0, stderr)
      await until(async () => /kept/.test((await call(['logs', 'keeper'])).stdout.toString()) || undefined, 'it reads')
      assert.equal((await world.pod('keeper', isReady, 'goes on')).status?.containerStatuses?.[0]?.restartCount, 0)
    })

    it('forwards a port', async () => {
      const child = spawn('kubectl', ['port-forward', 'pod/web', ':8080'], { env: { ...kubectl.env, ...env } })
      try {
        let said = ''
        child.stdout.on('data', (chunk: Buffer) => (said += chunk.toString()))
        child.stderr.on('data', (chunk: Buffer) => (said += chunk.toString()))
        const port = await until(async () => /127\.0\.0\.1:(\d+) ->/.exec(said)?.[1], 'kubectl forwards')
        const answers = await Promise.all(
          Array.from({ length: 8 }, async () => (await fetch(`http://127.0.0.1:${port}/`)).text()),
        )
        assert.deepEqual(new Set(answers), new Set(['hello from the pod\n']))
      } finally {
        child.kill('SIGKILL')
      }
    })

    it('tells of a port where nobody listens', async () => {
      const child = spawn('kubectl', ['port-forward', 'pod/web', ':9'], { env: { ...kubectl.env, ...env } })
      try {
        let said = ''
        for (const stream of [child.stdout, child.stderr])
          stream.on('data', (chunk: Buffer) => (said += chunk.toString()))
        const port = await until(async () => /127\.0\.0\.1:(\d+) ->/.exec(said)?.[1], 'kubectl forwards')
        await assert.rejects(fetch(`http://127.0.0.1:${port}/`))
        await until(async () => /connection refused/.test(said) || undefined, 'the reason is told')
      } finally {
        child.kill('SIGKILL')
      }
    })

    it('copies files both ways', async () => {
      const folder = join(world.dir, `copy-${protocol}`)
      await mkdir(folder)
      const bytes = randomBytes(300_000)
      await writeFile(join(folder, 'up'), bytes)
      const up = await call(['cp', join(folder, 'up'), 'web:/tmp/up'])
      assert.equal(up.code, 0, up.stderr)
      const down = await call(['cp', 'web:/tmp/up', join(folder, 'down')])
      assert.equal(down.code, 0, down.stderr)
      assert.equal(digest(await readFile(join(folder, 'down'))), digest(bytes))
    })

    it('runs a pod at a terminal and removes it with the end', async () => {
      const name = `once-${protocol.toLowerCase()}`
      const overrides = JSON.stringify({ spec: { nodeName: 'here' } })
      const line = `kubectl run ${name} -it --rm --restart=Never --image=${IMAGE} --overrides='${overrides}' --command -- sh`
      const { stdout } = await run('script', ['-qec', line, '/dev/null'], {
        input: 'echo from $HOSTNAME\nexit 0\n',
        env: { ...kubectl.env, ...env, SHELL: '/bin/sh' },
      })
      assert.match(stdout.toString(), new RegExp(`from ${name}`))
      await world.gone(name)
    })

    it('adds a container that sees the processes of another', async () => {
      const debug = ['debug', 'web', '--image', IMAGE, '--target', 'main', '-c', `eyes-${protocol.toLowerCase()}`]
      const { code, stderr } = await call([...debug, '--', 'sh', '-c', 'cat /proc/1/cmdline; exec sleep 1000'])
      assert.equal(code, 0, stderr)
      const path = `/api/v1/namespaces/default/pods/web/log?container=eyes-${protocol.toLowerCase()}`
      const text = await until(async () => {
        const { stdout } = await call(['get', '--raw', path])
        return stdout.length > 0 ? stdout.toString() : undefined
      }, 'it tells what it sees')
      assert.match(text, /^sleep\0+1000/)
    })

    it('refuses a container that does not run, and one that is not there', async () => {
      const missing = await call(['exec', 'web', '-c', 'other', '--', 'true'])
      assert.match(
        missing.stderr,
        /container other is not valid for pod web|container not found in pod|container "other" not found|container other not found in pod web/,
      )
      await world.createPod(`gone-${protocol.toLowerCase()}`, { args: ['exit 0'] }, { restartPolicy: 'Never' })
      await world.pod(`gone-${protocol.toLowerCase()}`, (pod) => pod.status?.phase === 'Succeeded', 'has ended')
      const ended = await call(['exec', `gone-${protocol.toLowerCase()}`, '--', 'true'])
      assert.match(ended.stderr, /cannot exec into a container in a completed pod/)
    })
  })
}
