/**
 * Watches over one plain process, as conmon does over a container: started detached, it outlives whoever started it, owns
 * the process's output and leaves its exit code behind. Node alone, no imports of ours: it runs as a program.
 *
 * `node process-shim.ts SPEC.json`; file descriptor 3 gets one line, `{"pid": N}` or `{"message": "..."}`. SIGHUP opens
 * the log anew.
 */
import { spawn } from 'node:child_process'
import { closeSync, openSync, readFileSync, renameSync, writeFileSync, writeSync } from 'node:fs'
import { constants } from 'node:os'

interface ShimSpec {
  file: string
  /** The program's name as it was asked for: some programs go by it. */
  argv: [string, ...string[]]
  cwd: string
  env: Record<string, string>
  logPath: string
  exitPath: string
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

const child = spawn(spec.file, spec.argv.slice(1), {
  argv0: spec.argv[0],
  cwd: spec.cwd,
  env: spec.env,
  // A session and process group of its own, so that a signal reaches its children too.
  detached: true,
  stdio: ['ignore', 'pipe', 'pipe'],
})
child.on('error', (error) => {
  answer({ message: error.message })
  process.exit(1)
})
child.on('spawn', () => answer({ pid: child.pid }))
pass(child.stdout, 'stdout')
pass(child.stderr, 'stderr')
child.on('exit', (code, signal) => {
  const exitCode = code ?? 128 + (signal === null ? 0 : constants.signals[signal])
  const end = (): never => {
    const temporary = spec.exitPath.replace(/([^/]*)$/, '.$1')
    writeFileSync(temporary, String(exitCode))
    renameSync(temporary, spec.exitPath)
    process.exit(0)
  }
  child.once('close', end)
  // A child of the process may keep its output open for ever.
  setTimeout(end, 500)
})

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
