import { spawn } from 'node:child_process'
import type { ChildProcess } from 'node:child_process'
import { once } from 'node:events'
import { createInterface } from 'node:readline'

/** A service in a process of its own, as in production. */
export class Running implements AsyncDisposable {
  readonly process: ChildProcess
  readonly lines: Record<string, unknown>[] = []
  readonly #waiting: { readonly message: string; readonly resolve: (line: Record<string, unknown>) => void }[] = []

  /** `stdout`: where its log goes, when nobody is to read it. */
  constructor(
    program: string,
    args: readonly string[],
    env: Readonly<Record<string, string>> = {},
    stdout: number | 'pipe' = 'pipe',
  ) {
    this.process = spawn(process.execPath, ['--conditions=@fairlead/source', program, ...args], {
      env: { HOST: '127.0.0.1', PORT: '0', ...env },
      stdio: ['ignore', stdout, 'inherit'],
    })
    const { stdout: log } = this.process
    if (log) createInterface(log).on('line', (line) => this.#take(JSON.parse(line) as Record<string, unknown>))
  }

  async see(message: string): Promise<Record<string, unknown>> {
    const line = this.lines.find(({ msg }) => msg === message)
    return line ?? (await new Promise((resolve) => this.#waiting.push({ message, resolve })))
  }

  async exitCode(): Promise<number | null> {
    if (this.process.exitCode === null) await once(this.process, 'close')
    return this.process.exitCode
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.process.kill('SIGKILL')
    await this.exitCode()
  }

  #take(line: Record<string, unknown>): void {
    this.lines.push(line)
    for (const { message, resolve } of this.#waiting) if (line['msg'] === message) resolve(line)
  }
}
