import assert from 'node:assert/strict'
import { once } from 'node:events'
import { connect, createServer } from 'node:net'
import type { AddressInfo } from 'node:net'
import { PassThrough, Readable } from 'node:stream'
import { join } from 'node:path'
import { after, before, describe, it } from 'node:test'
import { Attach, Exec, KubeConfig, PortForward } from '@kubernetes/client-node'
import type { V1Status } from '@kubernetes/client-node'
import { connectKube, execInPod, loadKubeconfig, openPortForward } from '@fairlead/kube'

import { openKubectl } from './testing/kubectl.ts'
import { isReady, openWorld, skipReason, until } from './testing/world.ts'
import type { World } from './testing/world.ts'

describe('the Kubernetes client for JavaScript', { skip: skipReason(), timeout: 600_000 }, () => {
  let world: World
  const config = new KubeConfig()

  before(async () => {
    world = await openWorld()
    await world.startAgent()
    config.loadFromFile((await openKubectl(world)).kubeconfig)
    await world.createPod('web', { args: ['exec httpd -f -p 8080 -h /www'] })
    await world.createPod('reader', { args: ['cat; exit 0'], stdin: true, stdinOnce: true })
    for (const pod of ['web', 'reader']) await world.pod(pod, isReady, 'is ready')
  })
  after(() => world[Symbol.asyncDispose]())

  function gather(): { stream: PassThrough; text: () => string } {
    const stream = new PassThrough()
    let text = ''
    stream.on('data', (chunk: Buffer) => (text += chunk.toString()))
    return { stream, text: () => text }
  }

  it('is matched by our own client over HTTPS', async () => {
    const kubeconfig = loadKubeconfig({ env: { KUBECONFIG: join(world.dir, 'kubeconfig') } })
    const client = connectKube({ kubeconfig, namespace: 'default' })
    const out = gather()
    const stdin = Readable.from([Buffer.alloc(2_000_000, 'a')])
    const code = await execInPod(client, 'web', ['sh', '-c', 'cat; exit 9'], { stdin, stdout: out.stream })
    assert.deepEqual([code, out.text().length], [9, 2_000_000])
    await assert.rejects(execInPod(client, 'missing', ['true']), { code: 'FAIRLEAD_KUBE_API' })
    await using forwarder = await openPortForward(client, 'web')
    const socket = forwarder.connect(8080)
    socket.end('GET / HTTP/1.0\r\n\r\n')
    assert.match(Buffer.concat((await socket.toArray()) as Buffer[]).toString(), /hello$/)
    await client.close()
  })

  it('runs a program', async () => {
    const [out, err] = [gather(), gather()]
    const { promise, resolve } = Promise.withResolvers<V1Status>()
    const command = ['sh', '-c', 'cat; echo bad >&2; exit 3']
    const input = Readable.from([Buffer.from('words\n')])
    await new Exec(config).exec('default', 'web', 'main', command, out.stream, err.stream, input, false, resolve)
    const status = await promise
    assert.equal(status.reason, 'NonZeroExitCode')
    assert.equal(status.details?.causes?.[0]?.message, '3')
    assert.equal(out.text(), 'words\n')
    assert.equal(err.text(), 'bad\n')
  })

  it('attaches to a container', async () => {
    const out = gather()
    const input = new PassThrough()
    const socket = await new Attach(config).attach('default', 'reader', 'main', out.stream, null, input, false)
    input.write('hello\n')
    await until(async () => out.text() === 'hello\n' || undefined, 'it is said back')
    socket.close()
  })

  it('forwards a port', async () => {
    const forward = new PortForward(config, true)
    const server = createServer((socket) => void forward.portForward('default', 'web', [8080], socket, null, socket))
    server.listen(0, '127.0.0.1')
    await once(server, 'listening')
    const socket = connect((server.address() as AddressInfo).port, '127.0.0.1')
    let text = ''
    socket.on('data', (chunk: Buffer) => (text += chunk.toString()))
    socket.write('GET / HTTP/1.0\r\n\r\n')
    await until(async () => text.endsWith('hello') || undefined, 'the page has come')
    assert.match(text, /^HTTP\/1\.\d 200 OK/)
    socket.destroy()
    server.close()
  })
})
