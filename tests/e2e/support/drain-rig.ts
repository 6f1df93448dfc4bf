// Restarts a service under load, one instance after the other, and counts what its clients notice.
import { spawn } from 'node:child_process'
import type { ChildProcess } from 'node:child_process'
import { once } from 'node:events'
import { Agent, get, request } from 'node:http'
import type { IncomingMessage } from 'node:http'
import { connect } from 'node:http2'
import type { ClientHttp2Session } from 'node:http2'
import { createInterface } from 'node:readline'
import { setTimeout as sleep } from 'node:timers/promises'

const program = new URL('drain-instance.ts', import.meta.url).pathname
/** How long after the signal clients still go to the old instance. */
const switchLagMs = 30

export interface Seen {
  /** What clients got that they asked for. */
  http1: number
  http2: number
  messages: number
  events: number
  /** HTTP/2 requests refused with REFUSED_STREAM, which says that nobody looked at them: sent again (RFC 9113 8.7). */
  resent: number
  /** What went wrong, in words. */
  readonly failures: string[]
  /** From the signal to the end of the process. */
  readonly drainedMs: number[]
  cut: number
}

/** Where clients go. */
interface Target {
  port: number
  isOver: boolean
}

export async function restartUnderLoad(restarts: number): Promise<Seen> {
  const seen: Seen = { http1: 0, http2: 0, messages: 0, events: 0, resent: 0, failures: [], drainedMs: [], cut: 0 }
  let instance = await startInstance()
  const target: Target = { port: instance.port, isOver: false }
  const clients = [
    ...Array.from({ length: 8 }, () => postOverHttp1(target, seen)),
    ...Array.from({ length: 4 }, sharedHttp2(target, seen)),
    ...Array.from({ length: 4 }, () => talkOverWebSocket(target, seen)),
    ...Array.from({ length: 4 }, () => followEvents(target, seen)),
  ]
  const stopping: Promise<void>[] = []
  for (let restart = 0; restart < restarts; restart += 1) {
    const next = await startInstance()
    stopping.push(stopInstance(instance, seen))
    await sleep(switchLagMs)
    target.port = next.port
    instance = next
  }
  await Promise.all(stopping)
  target.isOver = true
  await Promise.all(clients)
  instance.process.kill('SIGKILL')
  return seen
}

interface Instance {
  readonly process: ChildProcess
  readonly port: number
  /** The messages of its log. */
  readonly told: ReadonlySet<string>
}

/** As in Kubernetes, only quicker: traffic moves away a little after the signal. */
const settings = { HOST: '127.0.0.1', PORT: '0', LOG_LEVEL: 'info', DRAIN_DELAY_MS: '100', STOP_TIMEOUT_MS: '10000' }

async function startInstance(): Promise<Instance> {
  const child = spawn(process.execPath, ['--conditions=@fairlead/source', program], {
    stdio: ['pipe', 'pipe', 'inherit'],
    env: { ...process.env, ...settings },
  })
  const told = new Set<string>()
  const { promise, resolve, reject } = Promise.withResolvers<number>()
  const lines = createInterface(child.stdout)
  lines.on('line', (text) => {
    // Thousands of lines tell of requests.
    if (text.includes('"msg":"request served"')) return
    const line = JSON.parse(text) as { readonly msg: string; readonly port?: number }
    told.add(line.msg)
    if (line.msg === 'service ready' && line.port !== undefined) resolve(line.port)
  })
  lines.on('close', () => reject(new Error('The instance ended before it listened')))
  return { process: child, port: await promise, told }
}

async function stopInstance({ process: child, told }: Instance, seen: Seen): Promise<void> {
  const startedAt = performance.now()
  const exited = once(child, 'close')
  child.kill('SIGTERM')
  const [code] = (await exited) as [number | null]
  seen.drainedMs.push(performance.now() - startedAt)
  if (code !== 0) seen.failures.push(`an instance ended with code ${code}`)
  if (!told.has('service stopped')) seen.failures.push('an instance did not stop in good order')
  if (told.has('connections were cut: the drain took too long')) seen.cut += 1
}

async function postOverHttp1(target: Target, seen: Seen): Promise<void> {
  const agent = new Agent({ keepAlive: true, maxSockets: 1 })
  while (!target.isOver) {
    try {
      await post(target.port, agent)
      seen.http1 += 1
    } catch (error) {
      seen.failures.push(`HTTP/1.1: ${String(error)}`)
    }
    await sleep(5)
  }
  agent.destroy()
}

async function post(port: number, agent: Agent): Promise<void> {
  const call = request({ host: '127.0.0.1', port, path: '/work', method: 'POST', agent })
  call.setHeader('content-type', 'application/json')
  call.end('{"a":1}')
  const [response] = (await once(call, 'response')) as [IncomingMessage]
  let body = ''
  for await (const chunk of response) body += String(chunk)
  if (response.statusCode !== 200 || body !== '{"a":1}') throw new Error(`status ${response.statusCode}, body ${body}`)
}

/** Loops that share one session, as the clients of a pool do. */
function sharedHttp2(target: Target, seen: Seen): () => Promise<void> {
  let session: { readonly client: ClientHttp2Session; readonly port: number } | undefined
  let users = 0
  return async () => {
    users += 1
    while (!target.isOver) {
      if (session === undefined || session.client.closed || session.client.destroyed || session.port !== target.port) {
        session?.client.close()
        session = { client: connect(`http://127.0.0.1:${target.port}`), port: target.port }
        session.client.on('error', (error) => seen.failures.push(`HTTP/2 session: ${error.message}`))
      }
      try {
        if (await postOverHttp2(session.client)) seen.http2 += 1
        else seen.resent += 1
      } catch (error) {
        seen.failures.push(`HTTP/2: ${String(error)}`)
      }
      await sleep(5)
    }
    users -= 1
    if (users === 0) session?.client.close()
  }
}

/** Resolves to false when the request was refused before it was looked at, which is no failure but for a retry. */
async function postOverHttp2(client: ClientHttp2Session): Promise<boolean> {
  const stream = client.request({ ':path': '/work', ':method': 'POST', 'content-type': 'application/json' })
  const { promise, resolve, reject } = Promise.withResolvers<boolean>()
  let status: unknown
  let body = ''
  let failure: Error | undefined
  stream.on('response', (headers) => (status = headers[':status']))
  stream.on('data', (chunk) => (body += String(chunk)))
  stream.on('error', (error) => (failure = error))
  stream.on('close', () => {
    if (stream.rstCode === 7) resolve(false)
    else if (failure !== undefined) reject(failure)
    else if (status === 200 && body === '{"a":1}') resolve(true)
    else reject(new Error(`status ${String(status)}, body ${body}, code ${stream.rstCode}`))
  })
  stream.end('{"a":1}')
  return await promise
}

/** Sends numbers and waits for each to come back. One without an answer when the service says goodbye is sent again elsewhere. */
async function talkOverWebSocket(target: Target, seen: Seen): Promise<void> {
  let number = 0
  while (!target.isOver) {
    const socket = new WebSocket(`ws://127.0.0.1:${target.port}/`)
    const closed = Promise.withResolvers<CloseEvent>()
    socket.addEventListener('close', closed.resolve)
    socket.addEventListener('message', ({ data }) => {
      if (data !== String(number)) seen.failures.push(`WebSocket: ${String(data)} came back for ${number}`)
      number += 1
      seen.messages += 1
      setTimeout(() => {
        if (target.isOver) socket.close(1000)
        else if (socket.readyState === WebSocket.OPEN) socket.send(String(number))
      }, 5)
    })
    socket.addEventListener('open', () => socket.send(String(number)))
    const { code, wasClean } = await closed.promise
    if (!wasClean || (code !== 1012 && code !== 1000)) seen.failures.push(`WebSocket: closed with ${code}`)
  }
}

/** Follows one stream of numbered events over all instances. */
async function followEvents(target: Target, seen: Seen): Promise<void> {
  let last = 0
  while (!target.isOver) {
    try {
      const call = get({
        host: '127.0.0.1',
        port: target.port,
        path: '/events',
        agent: false,
        headers: { 'last-event-id': last },
      })
      const [response] = (await once(call, 'response')) as [IncomingMessage]
      let text = ''
      for await (const chunk of response) {
        text += String(chunk)
        // TCP may cut an event anywhere.
        const end = text.lastIndexOf('\n\n') + 2
        if (end === 1) continue
        for (const [, found] of text.slice(0, end).matchAll(/^id: (\d+)\n/gm)) {
          const id = Number(found)
          if (id !== last + 1) seen.failures.push(`events: ${id} came after ${last}`)
          last = id
          seen.events += 1
        }
        text = text.slice(end)
        if (target.isOver) break
      }
      if (target.isOver) call.destroy()
      else if (!response.complete) seen.failures.push('events: the stream was broken off')
    } catch (error) {
      seen.failures.push(`events: ${String(error)}`)
    }
  }
}
