import { spawn } from 'node:child_process'
import { access, constants } from 'node:fs/promises'
import { delimiter, join } from 'node:path'

import { commandFailed } from '../errors.ts'

/** Options of {@link runCommand}. */
export interface CommandOptions {
  readonly cwd?: string | undefined
  /** The process is killed after this long. Default 30,000. */
  readonly timeoutMs?: number | undefined
}

/** Runs a system tool to its end; resolves to what it printed. */
export type RunCommand = (file: string, args: readonly string[], options?: CommandOptions) => Promise<string>

const MAX_OUTPUT_BYTES = 1 << 20

/** The environment system tools run with: messages not translated, paths in UTF-8 (conmon refuses others under plain C). */
export function toolEnvironment(): Record<string, string> {
  return { PATH: toolFolders().join(delimiter), LC_ALL: 'C.UTF-8' }
}

/** PATH and sbin, which is not on every PATH, without the folders npm and npx put first: packages use the same names. */
function toolFolders(): string[] {
  const path = (process.env['PATH'] ?? '/usr/bin:/bin').split(delimiter)
  return [...path.filter((folder) => !folder.includes('node_modules')), '/usr/sbin', '/sbin']
}

/** Runs a system tool to its end and returns what it printed. Throws `FAIRLEAD_OCI_RUNTIME_COMMAND`. */
export function runCommand(file: string, args: readonly string[], options: CommandOptions = {}): Promise<string> {
  const { promise, resolve, reject } = Promise.withResolvers<string>()
  const child = spawn(file, args, {
    cwd: options.cwd,
    env: toolEnvironment(),
    stdio: ['ignore', 'pipe', 'pipe'],
    timeout: options.timeoutMs ?? 30_000,
    killSignal: 'SIGKILL',
  })
  let output = ''
  let complaint = ''
  child.stdout.setEncoding('utf8').on('data', (text: string) => {
    if (output.length < MAX_OUTPUT_BYTES) output += text
  })
  child.stderr.setEncoding('utf8').on('data', (text: string) => {
    if (complaint.length < 65_536) complaint += text
  })
  child.on('error', (cause) => reject(commandFailed(file, args, 'it did not start', cause)))
  child.on('close', (code, signal) => {
    if (code === 0) resolve(output)
    else reject(commandFailed(file, args, `${signal ?? `exit code ${code}`}: ${complaint.trim().slice(0, 2000)}`))
  })
  return promise
}

/** Where a tool is installed, looked up on PATH and in the directories of system tools. */
export async function findCommand(name: string): Promise<string | undefined> {
  for (const folder of toolFolders()) {
    const path = join(folder, name)
    const isThere = await access(path, constants.X_OK).then(
      () => true,
      () => false,
    )
    if (isThere) return path
  }
  return undefined
}
