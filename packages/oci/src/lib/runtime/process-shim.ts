/**
 * Watches over one plain process, as conmon does over a container: started detached, it outlives whoever started it, owns
 * the process's output and leaves its exit code behind. Node alone, no imports of ours: it runs as a program.
 *
 * `node process-shim.ts SPEC.json`; file descriptor 3 gets one line, `{"pid": N}` or `{"message": "..."}`. SIGHUP opens
 * the log anew.
 */
import { execFile, spawn } from 'node:child_process'
import {
  chmodSync,
  closeSync,
  openSync,
  readFileSync,
  readlinkSync,
  renameSync,
  rmSync,
  writeFileSync,
  writeSync,
} from 'node:fs'
import { createServer } from 'node:net'
import type { Socket } from 'node:net'
import { constants } from 'node:os'
import { basename } from 'node:path'

interface ShimSpec {
  file: string
  /** The program's name as it was asked for: some programs go by it. */
  argv: [string, ...string[]]
  cwd: string
  env: Record<string, string>
  logPath: string
  exitPath: string
  attachPath: string
  stdin: boolean
  stdinOnce: boolean
  tty: boolean
  script: string
}

const spec = JSON.parse(readFileSync(process.argv[2] ?? '', 'utf8')) as ShimSpec
const MAX_LINE_BYTES = 16_384
const NEWLINE = Buffer.from('\n')
let log = openSync(spec.logPath, 'a', 0o640)

// Whoever stops the process signals it, not us; we stay until its exit code is written.
for (const signal of ['SIGTERM', 'SIGINT'] as const) process.on(signal, () => {})
process.on('SIGHUP', () => {
  const next = openSync(spec.logPath, 'a', 0o640)
  closeSync(log)
  log = next
})

const child = spec.tty ? spawnOnTerminal() : spawnPlain()
child.stdin?.on('error', () => {})
child.on('error', (error) => {
  answer({ message: error.message })
  process.exit(1)
})
child.on('spawn', () => void programPid().then((pid) => answer({ pid })))
pass(child.stdout as NodeJS.ReadableStream, 'stdout')
if (child.stderr) pass(child.stderr, 'stderr')
child.on('exit', (code, signal) => {
  const exitCode = code ?? 128 + (signal === null ? 0 : constants.signals[signal])
  const end = (): never => {
    const temporary = spec.exitPath.replace(/([^/]*)$/, '.$1')
    writeFileSync(temporary, String(exitCode))
    renameSync(temporary, spec.exitPath)
    rmSync(spec.attachPath, { force: true })
    process.exit(0)
  }
  // Those who are attached get the last of the output: a socket hands on what it was given before it ends.
  child.once('close', () => setImmediate(end))
  // A child of the process may keep its output open for ever.
  setTimeout(end, 500)
})

function spawnPlain(): ReturnType<typeof spawn> {
  return spawn(spec.file, spec.argv.slice(1), {
    argv0: spec.argv[0],
    cwd: spec.cwd,
    env: spec.env,
    // A session and process group of its own, so that a signal reaches its children too.
    detached: true,
    stdio: [spec.stdin ? 'pipe' : 'ignore', 'pipe', 'pipe'],
  })
}

/** Node cannot make a terminal; `script` (util-linux) can. */
function spawnOnTerminal(): ReturnType<typeof spawn> {
  const words = wordsOf(spec.file, spec.argv)
  const line = `exec ${words.map((word) => `'${word.replaceAll("'", String.raw`'\''`)}'`).join(' ')}`
  const args =
    process.platform === 'darwin' ? ['-q', '/dev/null', ...words] : ['-qefc', line, '-E', 'always', '/dev/null']
  const env = { TERM: 'xterm', ...spec.env, SHELL: '/bin/sh' }
  return spawn(spec.script, args, { cwd: spec.cwd, env, detached: true, stdio: ['pipe', 'pipe', 'pipe'] })
}

/** A shell cannot start a program by another name than its file's; we can. */
function wordsOf(file: string, argv: readonly string[]): string[] {
  if (argv[0] === undefined || basename(file) === basename(argv[0])) return [file, ...argv.slice(1)]
  const code = 'process.execve(process.argv[1], process.argv.slice(2))'
  return [process.execPath, '--no-warnings', '-e', code, '--', file, ...argv]
}

/** At a terminal the program is a child of our child. */
async function programPid(): Promise<number | undefined> {
  const { pid } = child
  if (!spec.tty || process.platform !== 'linux') return pid
  for (let tries = 0; tries < 100; tries += 1) {
    try {
      const first = Number.parseInt(readFileSync(`/proc/${pid}/task/${pid}/children`, 'latin1'), 10)
      if (first > 0) return first
    } catch {
      return pid
    }
    await new Promise((resolve) => setTimeout(resolve, 5))
  }
  return pid
}

// ---- those who attach: frames of one byte type, four bytes length; 0 input, 1 output, 2 errors, 3 end of input, 4 size

const attached = new Set<Socket>()
rmSync(spec.attachPath, { force: true })
const server = createServer((socket) => {
  attached.add(socket)
  let rest: Buffer = Buffer.alloc(0)
  let wroteInput = false
  socket.on('error', () => socket.destroy())
  socket.on('close', () => {
    attached.delete(socket)
    if (wroteInput && spec.stdinOnce) child.stdin?.end()
  })
  socket.on('data', (chunk: Buffer) => {
    rest = rest.length === 0 ? chunk : Buffer.concat([rest, chunk])
    while (rest.length >= 5 && rest.length >= 5 + rest.readUInt32BE(1)) {
      const size = rest.readUInt32BE(1)
      const [type] = rest
      wroteInput ||= type === 0
      receive(socket, type ?? -1, rest.subarray(5, 5 + size))
      rest = rest.subarray(5 + size)
    }
  })
})
server.on('error', () => {})
server.listen(spec.attachPath, () => chmodSync(spec.attachPath, 0o600))
server.unref()

function receive(socket: Socket, type: number, bytes: Buffer): void {
  if (type === 0 && child.stdin !== null && !child.stdin.write(bytes)) {
    socket.pause()
    child.stdin.once('drain', () => socket.resume())
  }
  if (type === 3 && spec.stdinOnce && !spec.tty) child.stdin?.end()
  if (type === 4 && bytes.length === 4) void resize(bytes.readUInt16BE(), bytes.readUInt16BE(2))
}

async function resize(columns: number, rows: number): Promise<void> {
  try {
    const path = readlinkSync(`/proc/${await programPid()}/fd/0`)
    execFile('stty', ['-F', path, 'cols', String(columns), 'rows', String(rows)], () => {})
  } catch {
    // It has ended, or this system has no /proc.
  }
}

/** The program waits while somebody who is attached does not read. */
function tell(type: number, chunk: Buffer, stream: NodeJS.ReadableStream): void {
  if (attached.size === 0) return
  const head = Buffer.alloc(5)
  head[0] = type
  head.writeUInt32BE(chunk.length, 1)
  for (const socket of attached) {
    if (socket.write(Buffer.concat([head, chunk]))) continue
    stream.pause()
    const go = (): void => void stream.resume()
    socket.once('drain', go)
    socket.once('close', go)
  }
}

function answer(value: object): void {
  try {
    writeSync(3, `${JSON.stringify(value)}\n`)
    closeSync(3)
  } catch {
    // Nobody waits any more.
  }
}

/** Writes a stream to the log line by line, in the CRI format; a line too long is written in parts. */
function pass(stream: NodeJS.ReadableStream, name: 'stdout' | 'stderr'): void {
  let rest: Buffer = Buffer.alloc(0)
  stream.on('data', (chunk: Buffer) => {
    tell(name === 'stdout' ? 1 : 2, chunk, stream)
    rest = rest.byteLength === 0 ? chunk : Buffer.concat([rest, chunk])
    const lines: Buffer[] = []
    const time = new Date().toISOString()
    for (let end = lineEnd(rest); end !== -1; end = lineEnd(rest)) {
      const isWhole = rest[end] === 0x0a
      lines.push(Buffer.from(`${time} ${name} ${isWhole ? 'F' : 'P'} `), rest.subarray(0, end), NEWLINE)
      rest = rest.subarray(isWhole ? end + 1 : end)
    }
    write(lines)
  })
  stream.on('end', () => {
    if (rest.byteLength > 0) write([Buffer.from(`${new Date().toISOString()} ${name} P `), rest, NEWLINE])
  })
}

function lineEnd(bytes: Buffer): number {
  const newline = bytes.indexOf(0x0a)
  if (newline !== -1 && newline <= MAX_LINE_BYTES) return newline
  return bytes.byteLength > MAX_LINE_BYTES ? MAX_LINE_BYTES : -1
}

function write(parts: readonly Buffer[]): void {
  if (parts.length === 0) return
  try {
    writeSync(log, Buffer.concat(parts))
  } catch {
    // A full disk must not end the program whose output this is.
  }
}
