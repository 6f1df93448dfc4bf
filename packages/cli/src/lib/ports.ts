import { readdirSync, readFileSync, readlinkSync } from 'node:fs'
import { createServer } from 'node:net'

/** Whether a program of this machine can listen at `port` of the loopback address; why not, otherwise. */
export async function probePort(port: number): Promise<'free' | 'in-use' | 'forbidden'> {
  const { promise, resolve, reject } = Promise.withResolvers<'free' | 'in-use' | 'forbidden'>()
  const server = createServer()
  server.once('error', (error: NodeJS.ErrnoException) => {
    if (error.code === 'EADDRINUSE') resolve('in-use')
    else if (error.code === 'EACCES') resolve('forbidden')
    else reject(error)
  })
  server.listen({ host: '127.0.0.1', port, exclusive: true }, () => server.close(() => resolve('free')))
  return await promise
}

/** A process that holds a port. */
export interface PortHolder {
  readonly pid: number
  readonly command: string
}

/** The process that listens at `port`, as far as this user may see it in `/proc`; Linux only. */
export function findPortHolder(port: number): PortHolder | undefined {
  const inodes = new Set(['tcp', 'tcp6'].flatMap((table) => listListeners(readText(`/proc/net/${table}`), port)))
  if (inodes.size === 0) return undefined
  for (const pid of list('/proc').filter((name) => /^\d+$/.test(name))) {
    if (list(`/proc/${pid}/fd`).some((fd) => inodes.has(readLink(`/proc/${pid}/fd/${fd}`)))) {
      return { pid: Number(pid), command: describeCommand(readText(`/proc/${pid}/cmdline`)) }
    }
  }
  return undefined
}

/** `process 4711 (node server.js)` */
export function describeHolder(holder: PortHolder | undefined): string | undefined {
  return holder && `process ${holder.pid} (${holder.command})`
}

/** Links of the sockets that listen at `port`, from a table such as `/proc/net/tcp` (proc_net_tcp(5)). */
export function listListeners(table: string, port: number): string[] {
  const listening = '0A'
  return table
    .split('\n')
    .slice(1)
    .map((line) => line.trim().split(/\s+/))
    .filter(([, local = '', , state]) => state === listening && Number.parseInt(local.split(':')[1] ?? '', 16) === port)
    .map((fields) => `socket:[${fields[9]}]`)
}

function describeCommand(commandLine: string): string {
  const words = commandLine.split('\0').filter((word) => word !== '')
  const text = words.map((word, index) => (index === 0 ? (word.split('/').at(-1) ?? word) : word)).join(' ')
  return text.length > 60 ? `${text.slice(0, 59)}…` : text
}

// Processes end while they are looked at, and those of others may not be looked into: both read as nothing.
function list(dir: string): string[] {
  try {
    return readdirSync(dir)
  } catch {
    return []
  }
}

function readText(file: string): string {
  try {
    return readFileSync(file, 'utf8')
  } catch {
    return ''
  }
}

function readLink(file: string): string {
  try {
    return readlinkSync(file)
  } catch {
    return ''
  }
}
