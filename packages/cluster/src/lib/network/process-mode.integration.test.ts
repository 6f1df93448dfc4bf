import assert from 'node:assert/strict'
import { spawnSync } from 'node:child_process'
import { chmodSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, before, describe, it } from 'node:test'
import type { Service } from '@fairlead/kube/types/core-v1'
import type { EndpointSlice } from '@fairlead/kube/types/discovery-v1'
import { openPodNetwork } from './pod-network.ts'
import type { PodAttachment, PodNetwork } from './pod-network.ts'
import { serviceTablePath } from './preload-environment.ts'
import { openProcessTable } from './process-table.ts'
import { createServiceTable } from './service-table.ts'
import { createMemorySource, eventually, makeService, makeSlice, startNode } from './testing.ts'
import type { Program } from './testing.ts'

const skip = process.platform === 'linux' ? false : 'pods have addresses of their own on Linux only'
if (skip !== false && process.env['CI'] === 'true') throw new Error(`Cannot run the process mode tests: ${skip}`)

// As root, the pods run as nobody: this mode exists for those who are not root.
const uid = process.getuid?.() === 0 ? 65_534 : undefined

const server = (name: string, listen: string): string => `
  import { createServer } from 'node:http'
  const server = createServer((request, response) => response.end('${name} ' + request.socket.remoteAddress))
  server.listen(${listen}, () => console.log('listening', server.address().address))`

const port = 18_080

void describe('pod network of processes', { skip }, () => {
  const dir = mkdtempSync(join(tmpdir(), 'fairlead-processes-'))
  const programs: Program[] = []
  const services = createMemorySource<Service>()
  const slices = createMemorySource<EndpointSlice>()
  const table = createServiceTable(services, slices)
  let network: PodNetwork
  let served: Awaited<ReturnType<typeof openProcessTable>>
  let [a, b, c]: PodAttachment[] = []

  before(async () => {
    chmodSync(dir, 0o755)
    network = await openPodNetwork({ dir, mode: 'processes' })
    served = await openProcessTable({ path: serviceTablePath(join(dir, 'network')), table, domain: 'cluster.local' })
    ;[a, b, c] = await Promise.all(
      ['a', 'b', 'c'].map((name) => network.attach({ uid: name, namespace: 'shop', name })),
    )
    const listens = [`${port}`, `{ port: ${port}, host: '0.0.0.0' }`, `${port}, '::'`]
    for (const [i, pod] of [a, b, c].entries()) {
      programs.push(startNode(server('abc'[i] ?? '', listens[i] ?? ''), { env: { ...pod?.env }, uid }))
    }
    for (const program of programs) await eventually(() => program.output.includes('listening'))
  })

  after(async () => {
    for (const program of programs) await program[Symbol.asyncDispose]()
    table.close()
    await served?.close()
    await network?.close({ remove: true })
    rmSync(dir, { recursive: true })
  })

  const http = [{ name: 'http', port, protocol: 'TCP' }]
  const run = (code: string): Promise<string> => startNode(code, { env: { ...a?.env }, uid }).ended

  void it('gives every pod a loopback address on which its servers listen, on the same port', () => {
    assert.deepEqual(
      programs.map(({ output }) => output.trim()),
      [a, b, c].map((pod) => `listening ${pod?.ip}`),
    )
    assert.equal(new Set([a?.ip, b?.ip, c?.ip]).size, 3)
  })

  void it('leads Service names to endpoints, for http, fetch and net, with the pod as source', async () => {
    services.put(makeService('cart', { clusterIP: '10.96.0.20', ports: [{ name: 'http', port: 80 }] }))
    slices.put(makeSlice('cart', http, [b?.ip ?? '']))
    await served.settled()
    const output = await run(`
      import { get } from 'node:http'
      import { connect } from 'node:net'
      import { text } from 'node:stream/consumers'
      console.log(await (await fetch('http://cart/')).text())
      console.log(await (await fetch('http://cart.shop.svc.cluster.local')).text())
      console.log(await new Promise((done) => get('http://cart.shop:80/', async (response) => done(await text(response)))))
      const socket = connect(80, '10.96.0.20').end('GET / HTTP/1.0\\r\\n\\r\\n')
      console.log((await text(socket)).split('\\n').at(-1))`)
    assert.equal(output, `b ${a?.ip}\n`.repeat(4))
  })

  void it('leads where connections are redirected to while the process lives that passes them on, then to endpoints', async () => {
    services.put(makeService('routed', { clusterIP: '10.96.0.29', ports: [{ name: 'http', port: 80 }] }))
    slices.put(makeSlice('routed', http, [b?.ip ?? '']))
    table.redirect(new Map([['shop/routed/80', { ip: c?.ip ?? '', port }]]))
    await served.settled()
    const ask = `console.log(await (await fetch('http://routed/')).text())`
    assert.equal(await run(ask), `c ${a?.ip}\n`)
    const path = serviceTablePath(join(dir, 'network'))
    const written = readFileSync(path, 'utf8')
    const ended = spawnSync(process.execPath, ['--version']).pid
    writeFileSync(path, JSON.stringify({ ...JSON.parse(written), owner: ended }))
    assert.equal(await run(ask), `b ${a?.ip}\n`)
    table.redirect(new Map())
    await served.settled()
    assert.equal(await run(ask), `b ${a?.ip}\n`)
  })

  void it('spreads connections, follows changes and refuses without endpoints', async () => {
    services.put(makeService('both', { clusterIP: '10.96.0.21', ports: [{ name: 'http', port: 80 }] }))
    slices.put(makeSlice('both', http, [b?.ip ?? '', c?.ip ?? '']))
    await served.settled()
    const many = `
      import { get } from 'node:http'
      import { text } from 'node:stream/consumers'
      for (let i = 0; i < 24; i++) {
        const answer = await new Promise((done) => get('http://both', { agent: false }, (response) => done(text(response)))
          .on('error', (error) => done(error.code)))
        console.log(answer.split(' ')[0])
      }`
    assert.deepEqual([...new Set((await run(many)).trim().split('\n'))].toSorted(), ['b', 'c'])
    slices.put(makeSlice('both', http, [c?.ip ?? '']))
    await served.settled()
    assert.deepEqual([...new Set((await run(many)).trim().split('\n'))], ['c'])
    slices.put(makeSlice('both', http, []))
    await served.settled()
    assert.deepEqual([...new Set((await run(many)).trim().split('\n'))], ['ECONNREFUSED'])
  })

  void it('keeps a pod at its endpoint with session affinity, as long as that is there', async () => {
    const spec = { clusterIP: '10.96.0.22', ports: [{ name: 'http', port: 80 }], sessionAffinity: 'ClientIP' }
    services.put(makeService('sticky', spec))
    slices.put(makeSlice('sticky', http, [b?.ip ?? '', c?.ip ?? '']))
    await served.settled()
    const many = `
      import { get } from 'node:http'
      import { text } from 'node:stream/consumers'
      for (let i = 0; i < 16; i++) {
        const answer = await new Promise((done) => get('http://sticky', { agent: false }, (response) => done(text(response))))
        console.log(answer.split(' ')[0])
      }`
    const seen = async (): Promise<string> => [...new Set((await run(many)).trim().split('\n'))].join()
    const first = await seen()
    assert.match(first, /^[bc]$/)
    // Another process of the same pod is the same client.
    assert.equal(await seen(), first)
    const left = first === 'b' ? c : b
    slices.put(makeSlice('sticky', http, [left?.ip ?? '']))
    await served.settled()
    assert.notEqual(await seen(), first)
  })

  void it('shows mounts at their paths to programs, and leaves all other files alone', async () => {
    const volume = join(dir, 'volume')
    mkdirSync(volume)
    writeFileSync(join(volume, 'key'), 'of the volume')
    chmodSync(volume, 0o777)
    const env = { ...a?.env, FAIRLEAD_MOUNTS: JSON.stringify([['/not-here/config', volume]]) }
    const code = `
      import { createReadStream, existsSync, readFileSync, realpathSync, renameSync } from 'node:fs'
      import fs from 'node:fs/promises'
      import { connect, createServer } from 'node:net'
      import { promisify } from 'node:util'
      import { exists } from 'node:fs'
      import { text } from 'node:stream/consumers'
      const dir = '/not-here/config'
      console.log(readFileSync(dir + '/key', 'utf8'), await fs.readFile(new URL('file://' + dir + '/key'), 'utf8'))
      console.log(await text(createReadStream(dir + '/key')), (await fs.readdir(dir)).join())
      await fs.writeFile(dir + '/new', 'written')
      renameSync(dir + '/new', dir + '/newer')
      console.log(existsSync(dir + '/newer'), existsSync('/not-here/configs'), existsSync('/not-here'))
      console.log(realpathSync.native(dir) === realpathSync(dir), await promisify(exists)(dir))
      console.log(existsSync(process.execPath))
      const server = createServer((socket) => socket.end('socket')).listen(dir + '/s', () => {
        const client = connect(dir + '/s')
        text(client).then((said) => { console.log(said, existsSync(dir + '/s')); server.close() })
      })`
    const output = await startNode(code, { env, uid }).ended
    const expected = [
      'of the volume of the volume',
      'of the volume key',
      'true false false',
      'true true',
      'true',
      'socket true',
      '',
    ]
    assert.equal(output, expected.join('\n'))
    assert.equal(readFileSync(join(volume, 'newer'), 'utf8'), 'written')
  })

  void it('resolves names of the cluster, and leaves others to the host', async () => {
    services.put(makeService('db', { clusterIP: 'None', ports: [{ name: 'http', port }] }))
    slices.put(makeSlice('db', http, [{ addresses: [b?.ip ?? ''], hostname: 'db-0' }, c?.ip ?? '']))
    await served.settled()
    const output = await run(`
      import { lookup, promises as dns, resolve4 } from 'node:dns'
      console.log((await dns.resolve4('db')).toSorted().join())
      console.log((await dns.lookup('db-0.db.shop.svc')).address)
      console.log(await (await fetch('http://db-0.db:${port}')).text())
      console.log((await dns.lookup('localhost', { family: 4 })).address)
      lookup('cart', (error, address) => console.log(address))
      resolve4('cart', (error, addresses) => console.log(addresses.join()))`)
    const expected = `${b?.ip},${c?.ip}\n${b?.ip}\nb ${a?.ip}\n127.0.0.1\n10.96.0.20\n10.96.0.20\n`
    assert.equal(output, expected)
  })

  void it('keeps loopback private to a pod: what it listens on there, it reaches there', async () => {
    const output = await run(`
      import { createServer } from 'node:http'
      const server = createServer((request, response) => response.end('self')).listen(0, 'localhost', async () => {
        const { port, address } = server.address()
        console.log(address, await (await fetch('http://127.0.0.1:' + port)).text())
        server.close()
        server.closeAllConnections()
      })`)
    assert.equal(output, `${a?.ip} self\n`)
  })

  void it('leaves pipes and files alone', async () => {
    const output = await run(`
      import { createServer, connect } from 'node:net'
      const path = '/tmp/fairlead-preload-' + process.pid + '.sock'
      const server = createServer((socket) => socket.end('pipe')).listen(path, () => {
        connect(path).on('data', (data) => { console.log(String(data)); server.close() })
      })`)
    assert.equal(output, 'pipe\n')
  })

  void it('keeps addresses over a restart', async () => {
    const again = await openPodNetwork({ dir, mode: 'processes' })
    assert.deepEqual(await again.attach({ uid: 'a', namespace: 'shop', name: 'a' }), a)
    const next = await again.attach({ uid: 'd', namespace: 'shop', name: 'd' })
    assert.ok(![a?.ip, b?.ip, c?.ip].includes(next.ip))
    await again.detach('d')
    await again.close()
  })
})
