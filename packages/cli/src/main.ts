/**
 * The `fairlead` command: reads the command line, runs one command, sets the exit code.
 */
import { enableCompileCache } from 'node:module'
import { constants } from 'node:os'
import { join } from 'node:path'
import { resolveHomes } from './lib/homes.ts'

// A config file beside a package.json without "type" is fine; Node's advice about it is not for our users.
const emitWarning = process.emitWarning.bind(process) as (...given: unknown[]) => void
process.emitWarning = (...given: unknown[]): void => {
  const [, options] = given
  if ((options as { code?: string } | undefined)?.code !== 'MODULE_TYPELESS_PACKAGE_JSON') emitWarning(...given)
}

// Compiled code (and types stripped off sources) is kept between calls; measured: `up` without a change takes two thirds
// of the CPU time, `version` a third. It works for what is imported from here on, hence the imports by call.
enableCompileCache(join(resolveHomes(process.env).cache, 'compiled'))
const { Interruption, runCli } = await import('./lib/cli.ts')
const { createTerminal } = await import('./lib/terminal/terminal.ts')

const controller = new AbortController()
/** A terminal sends Ctrl-C to every process in the foreground, and a launcher may pass it on: one key, two signals. */
const sameSignalMs = 500
let interruptedAt: number | undefined

for (const name of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) {
  process.on(name, () => {
    const exitCode = 128 + constants.signals[name]
    // Only a person who presses Ctrl-C again wants out at any price; a second SIGTERM must not cut short a clean stop.
    const isAgain = interruptedAt !== undefined && Date.now() - interruptedAt > sameSignalMs
    if (name === 'SIGINT' && isAgain) process.exit(exitCode)
    interruptedAt ??= Date.now()
    controller.abort(new Interruption(name, exitCode))
  })
}
// `fairlead logs | head` ends the reader first; that is no failure.
process.stdout.on('error', (error: NodeJS.ErrnoException) => process.exit(error.code === 'EPIPE' ? 0 : 1))
// Progress that nobody reads (`fairlead up 2>&1 | head -1`) is no reason to stop in the middle.
process.stderr.on('error', () => {})

const exitCode = await runCli({
  words: process.argv.slice(2),
  terminal: createTerminal({ stdout: process.stdout, stderr: process.stderr, env: process.env }),
  env: process.env,
  cwd: process.cwd(),
  signal: controller.signal,
})
process.exitCode = exitCode
// Nothing that was forgotten to be closed may keep a finished command from ending.
setTimeout(() => process.exit(), 1000).unref()
