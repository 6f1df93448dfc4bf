import { spawn } from 'node:child_process'

import { commandFailed } from './errors.ts'

/** How to run another program; it is killed when `signal` aborts or its time is over. */
export interface RunCommandOptions {
  cwd?: string | undefined
  env?: NodeJS.ProcessEnv | undefined
  /** Default 60 s. */
  timeoutMs?: number | undefined
  signal?: AbortSignal | undefined
  /** Called with each line the program writes to its standard error. */
  onLine?: ((line: string) => void) | undefined
}

const MAX_OUTPUT_BYTES = 16 << 20

/** Runs a program without a shell and answers its standard output; any other ending is `FAIRLEAD_BUILD_COMMAND`. */
export async function runCommand(
  command: string,
  args: readonly string[],
  options: RunCommandOptions = {},
): Promise<string> {
  const output = await collect(openCommand(command, args, options))
  return output.toString()
}

/**
 * Runs a program and streams its standard output; the stream fails when the program does. Breaking off the iteration
 * kills it.
 */
export async function* openCommand(
  command: string,
  args: readonly string[],
  options: RunCommandOptions = {},
): AsyncGenerator<Buffer> {
  options.signal?.throwIfAborted()
  const shown = [command, ...args].join(' ').slice(0, 200)
  const timeout = AbortSignal.timeout(options.timeoutMs ?? 60_000)
  const child = spawn(command, args, {
    cwd: options.cwd,
    env: options.env ?? process.env,
    stdio: ['ignore', 'pipe', 'pipe'],
  })
  const kill = (): void => void child.kill('SIGKILL')
  const signals = options.signal ? [options.signal, timeout] : [timeout]
  for (const signal of signals) signal.addEventListener('abort', kill, { once: true })
  const errors = new LineTail(options.onLine)
  child.stderr.on('data', (chunk: Buffer) => errors.push(chunk))
  const ended = new Promise<string | undefined>((resolve, reject) => {
    child.once('error', (error) => reject(commandFailed(shown, startState(error), '', error)))
    child.once('close', (code, signal) => resolve(code === 0 ? undefined : `it ended with ${signal ?? `code ${code}`}`))
  })
  ended.catch(() => {})
  try {
    for await (const chunk of child.stdout) yield chunk as Buffer
    const failure = await ended
    options.signal?.throwIfAborted()
    if (timeout.aborted)
      throw commandFailed(shown, `it took longer than ${options.timeoutMs ?? 60_000} ms`, errors.text)
    if (failure) throw commandFailed(shown, failure, errors.text)
  } finally {
    kill()
    for (const signal of signals) signal.removeEventListener('abort', kill)
  }
}

async function collect(stream: AsyncIterable<Buffer>): Promise<Buffer> {
  const chunks: Buffer[] = []
  let sizeBytes = 0
  for await (const chunk of stream) {
    sizeBytes += chunk.byteLength
    if (sizeBytes > MAX_OUTPUT_BYTES) throw new RangeError(`Cannot keep more than ${MAX_OUTPUT_BYTES} bytes of output`)
    chunks.push(chunk)
  }
  return Buffer.concat(chunks)
}

function startState(error: NodeJS.ErrnoException): string {
  return error.code === 'ENOENT' ? 'it is not installed' : `it did not start (${error.code ?? error.message})`
}

/** The last lines of a program's output, for error messages. */
class LineTail {
  readonly #onLine: ((line: string) => void) | undefined
  #lines: string[] = []
  #rest = ''

  constructor(onLine: ((line: string) => void) | undefined) {
    this.#onLine = onLine
  }

  push(chunk: Buffer): void {
    const lines = (this.#rest + chunk.toString()).split('\n')
    this.#rest = lines.pop()?.slice(-4096) ?? ''
    for (const line of lines) this.#onLine?.(line)
    this.#lines = [...this.#lines, ...lines].slice(-50)
  }

  get text(): string {
    return [...this.#lines, this.#rest].join('\n')
  }
}
