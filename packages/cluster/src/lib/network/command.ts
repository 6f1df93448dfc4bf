import { spawn } from 'node:child_process'
import { delimiter } from 'node:path'
import { networkCommand } from '../errors.ts'

const maxOutputBytes = 4 << 20

/** Options of {@link runTool}. */
export interface ToolOptions {
  /** What is being done, for the error: an act and its subject. */
  readonly act: string
  readonly subject: string
  /** Written to standard input. */
  readonly input?: string | undefined
  /** The process is killed after this long. Default 20,000. */
  readonly timeoutMs?: number | undefined
}

/** The environment system tools run with: messages must not be translated. */
export function toolEnvironment(): NodeJS.ProcessEnv {
  return { PATH: toolFolders().join(delimiter), LC_ALL: 'C.UTF-8', HOME: '/nonexistent' }
}

/**
 * Where system tools are looked for: PATH and sbin, which is not on every PATH, without the folders npm and npx put first.
 * Packages have programs of the same names there, one of them is called `nft`.
 */
export function toolFolders(): string[] {
  const path = (process.env['PATH'] ?? '/usr/bin:/bin').split(delimiter)
  return [...path.filter((folder) => !folder.includes('node_modules')), '/usr/sbin', '/sbin']
}

/** Runs a system tool to its end and returns what it printed; a failure carries what it wrote to standard error. */
export function runTool(file: string, args: readonly string[], options: ToolOptions): Promise<string> {
  const { promise, resolve, reject } = Promise.withResolvers<string>()
  const fail = (detail: string, cause?: unknown): void =>
    reject(networkCommand(options.act, options.subject, detail, cause))
  const child = spawn(file, args, {
    stdio: ['pipe', 'pipe', 'pipe'],
    env: toolEnvironment(),
    timeout: options.timeoutMs ?? 20_000,
    killSignal: 'SIGKILL',
  })
  let output = ''
  let complaint = ''
  child.stdout.setEncoding('utf8').on('data', (text: string) => {
    if (output.length < maxOutputBytes) output += text
  })
  child.stderr.setEncoding('utf8').on('data', (text: string) => {
    if (complaint.length < 65_536) complaint += text
  })
  child.on('error', (error) => fail(`${file} did not start`, error))
  child.on('close', (code, signal) => {
    if (code === 0) resolve(output)
    else fail(`${file} ended with ${signal ?? `exit code ${code}`}: ${complaint.trim().slice(0, 2000)}`)
  })
  // A tool that dies before reading its input is reported by its exit code.
  child.stdin.on('error', () => {})
  child.stdin.end(options.input ?? '')
  return promise
}
