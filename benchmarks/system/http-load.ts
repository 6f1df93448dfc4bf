// The client of the http benchmarks: `node http-load.ts [--traced] PORT...`. For each line `INDEX MILLISECONDS` on standard input it asks
// that server for as long, on 32 connections that stay open, and prints how many answers came. With `--traced` each request
// continues a trace of its own, which its caller samples.
import { randomBytes } from 'node:crypto'
import { connect } from 'node:net'
import type { Socket } from 'node:net'
import { createInterface } from 'node:readline'

const ports = process.argv.slice(2).filter((argument) => argument !== '--traced')
const requests = createRequests(process.argv.includes('--traced'))
let next = 0

interface Target {
  readonly sockets: Socket[]
  isActive: boolean
  /** Answers that are still to come when the time is over. */
  open: number
  count: number
}

// Connected when a server is first asked: one that waits for its first request longer than headers may take says 408.
const targets: Target[] = []

createInterface({ input: process.stdin }).on('line', (line) => {
  const [index = 0, ms = 0] = line.split(' ').map(Number)
  const port = ports[index]
  if (port === undefined) throw new RangeError(`There is no server ${index}`)
  const target = (targets[index] ??= createTarget(Number(port)))
  Object.assign(target, { count: 0, isActive: true, open: target.sockets.length })
  for (const socket of target.sockets) ask(socket)
  setTimeout(() => (target.isActive = false), ms)
})

function createRequests(isTraced: boolean): readonly string[] {
  const plain = 'GET /users/42 HTTP/1.1\r\nhost: localhost\r\naccept: */*\r\n'
  if (!isTraced) return [`${plain}\r\n`]
  return Array.from({ length: 4096 }, () => {
    const traceparent = `00-${randomBytes(16).toString('hex')}-${randomBytes(8).toString('hex')}-01`
    return `${plain}user-agent: benchmark\r\ntraceparent: ${traceparent}\r\n\r\n`
  })
}

function ask(socket: Socket): void {
  socket.write(requests[next++ % requests.length] ?? '')
}

function createTarget(port: number): Target {
  const target: Target = { sockets: [], isActive: false, open: 0, count: 0 }
  for (let index = 0; index < 32; index++) {
    const socket = connect(port, '127.0.0.1').setNoDelay(true)
    socket.on('data', (data) => {
      if (data.toString('latin1', 9, 12) !== '200') throw new Error(`The server answered ${String(data)}`)
      target.count += 1
      if (target.isActive) ask(socket)
      else if (--target.open === 0) console.log(target.count)
    })
    // Of a server that goes first there is nothing more to be asked.
    socket.on('close', () => {
      if (target.open > 0) throw new Error('The server has closed a connection')
    })
    target.sockets.push(socket)
  }
  return target
}
