// The client of the http benchmark: `node http-load.ts PORT...`. For each line `INDEX MILLISECONDS` on standard input it asks that
// server for as long, on 32 connections that stay open, and prints how many answers came.
import { connect } from 'node:net'
import type { Socket } from 'node:net'
import { createInterface } from 'node:readline'

const request = 'GET /users/42 HTTP/1.1\r\nhost: localhost\r\naccept: */*\r\n\r\n'

interface Target {
  readonly sockets: Socket[]
  isActive: boolean
  /** Answers that are still to come when the time is over. */
  open: number
  count: number
}

const targets = process.argv.slice(2).map((port) => createTarget(Number(port)))

createInterface({ input: process.stdin }).on('line', (line) => {
  const [index = 0, ms = 0] = line.split(' ').map(Number)
  const target = targets[index]
  if (target === undefined) throw new RangeError(`There is no server ${index}`)
  Object.assign(target, { count: 0, isActive: true, open: target.sockets.length })
  for (const socket of target.sockets) socket.write(request)
  setTimeout(() => (target.isActive = false), ms)
})

function createTarget(port: number): Target {
  const target: Target = { sockets: [], isActive: false, open: 0, count: 0 }
  for (let index = 0; index < 32; index++) {
    const socket = connect(port, '127.0.0.1').setNoDelay(true)
    socket.on('data', (data) => {
      if (data.toString('latin1', 9, 12) !== '200') throw new Error(`The server answered ${String(data)}`)
      target.count += 1
      if (target.isActive) socket.write(request)
      else if (--target.open === 0) console.log(target.count)
    })
    target.sockets.push(socket)
  }
  return target
}
