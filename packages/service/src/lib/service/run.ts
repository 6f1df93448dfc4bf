import { constants } from 'node:os'
import type { ResourceMap } from '../lifecycle/resource.ts'
import type { Logger } from '../log/logger.ts'
import type { Service } from './definition.ts'
import { readSettings } from './settings.ts'
import type { Settings } from './settings.ts'
import { createServiceLogger, start } from './start.ts'
import type { StartOptions } from './start.ts'

/** A global function under this name is given the service instead of its being run. */
const inspectHook: symbol = Symbol.for('fairlead.inspect')

const stopSignals = ['SIGTERM', 'SIGINT'] as const

/**
 * Runs a service as this process: until SIGTERM or SIGINT, then drains and ends the process. For the last line of a main module.
 *
 * Exit codes: 0 after a clean stop; 1 when it could not start, a resource could not be stopped, or an error escaped;
 * 128 + the signal's number (143, 130) when a second signal came before the stop was done.
 */
export async function run<Uses extends ResourceMap>(
  service: Service<Uses>,
  options: Omit<StartOptions, 'signal'> = {},
): Promise<void> {
  const inspect: unknown = Reflect.get(globalThis, inspectHook)
  if (typeof inspect === 'function') {
    // A tool wants to know what the service is: it is not run, and the main module waits as it would for a service.
    inspect(service)
    return await new Promise(() => {})
  }
  const log = options.log ?? openLogger(service.name, options)
  const stopping = new AbortController()
  const startedAt = performance.now()
  const end = (code: number): never => {
    log.flush()
    // Whatever handle is left open must not keep a stopped service in its pod.
    process.exit(code)
  }
  const onSignal = (signal: (typeof stopSignals)[number]): void => {
    if (stopping.signal.aborted) {
      log.warn('second signal, leaving now', { signal })
      end(128 + constants.signals[signal])
    }
    log.info('stopping', { signal })
    stopping.abort(new Error(`The service was told to stop by ${signal}`))
  }
  const onEscaped = (error: unknown): void => {
    log.fatal('an error escaped, the state of the process is unknown', { err: error })
    end(1)
  }
  for (const signal of stopSignals) process.on(signal, onSignal)
  process.on('uncaughtException', onEscaped)
  process.on('unhandledRejection', onEscaped)

  try {
    const app = await start(service, { ...options, log, signal: stopping.signal })
    log.info('service ready', {
      url: app.url,
      port: app.port,
      admin_url: app.adminUrl === app.url ? undefined : app.adminUrl,
      startup_ms: Math.round(performance.now() - startedAt),
    })
    await aborted(stopping.signal)
    await app.stop()
  } catch (error) {
    const isStop = stopping.signal.aborted
    // A start that ended because it was told to is a stop like any other.
    if (!isStop || !hasCause(error, stopping.signal.reason)) {
      log[isStop ? 'error' : 'fatal'](isStop ? 'service not stopped cleanly' : 'service not started', { err: error })
      end(1)
    }
  }
  log.info('service stopped', { uptime_s: Math.round(process.uptime()) })
  end(0)
}

function hasCause(error: unknown, cause: unknown): boolean {
  return error === cause || (error instanceof Error && error.cause !== undefined && hasCause(error.cause, cause))
}

/** A setting that is wrong must be reported like everything else, so it cannot decide how. */
function openLogger(name: string, options: StartOptions): Logger {
  const env = options.env ?? process.env
  const settings: Settings = readSettingsOr(() => readSettings(env, process.stdout.isTTY), process.stdout.isTTY)
  return createServiceLogger(name, settings)
}

function readSettingsOr(read: () => Settings, isTerminal: boolean): Settings {
  try {
    return read()
  } catch {
    return readSettings({}, isTerminal)
  }
}

function aborted(signal: AbortSignal): Promise<void> {
  const { promise, resolve } = Promise.withResolvers<void>()
  if (signal.aborted) resolve()
  else signal.addEventListener('abort', () => resolve(), { once: true })
  // A pending promise does not keep the process alive, and needs not: the listening server does.
  return promise
}
