import { execFile } from 'node:child_process'
import { existsSync, readFileSync } from 'node:fs'
import { registerHooks } from 'node:module'
import { basename, extname, join, resolve } from 'node:path'
import { pathToFileURL } from 'node:url'
import { promisify } from 'node:util'
import { appAbsent, appLoad, appSyntax } from '../errors.ts'
import type { App } from './definition.ts'
import { parseApp, type ServiceFacts } from './parse.ts'

const configNames = ['fairlead.config.ts', 'fairlead.config.js', 'fairlead.config.mjs', 'fairlead.config.json']

/** Options of {@link loadApp}. */
export interface LoadOptions {
  /** How long a config file may take to load. Default 30,000. */
  readonly timeoutMs?: number | undefined
  readonly signal?: AbortSignal | undefined
}

/**
 * Loads the app of a folder from its `fairlead.config.ts` (or `.js`, `.mjs`, `.json`). A folder with nothing but a
 * `package.json`, `requirements.txt`, `uv.lock` or `poetry.lock` is an app of one public service. The config file runs in this process: load what you trust.
 * @throws Error `FAIRLEAD_DELIVERY_APP_ABSENT`, SyntaxError `FAIRLEAD_DELIVERY_APP_SYNTAX`, Error
 * `FAIRLEAD_DELIVERY_APP_LOAD` or AggregateError `FAIRLEAD_DELIVERY_APP_INVALID`.
 */
export async function loadApp(dir: string, options: LoadOptions = {}): Promise<App> {
  const folder = resolve(dir)
  const defaultName = toName(readPackage(folder)?.name ?? basename(folder))
  const config = configNames.map((name) => join(folder, name)).find((path) => existsSync(path))
  if (config !== undefined) {
    const text = readFileSync(config, 'utf8')
    return parseApp(await readConfig(config, text, options), { file: config, text, defaultName, facts: readFacts })
  }
  const manifest = ['package.json', 'requirements.txt', 'uv.lock', 'poetry.lock']
    .map((name) => join(folder, name))
    .find((path) => existsSync(path))
  if (manifest === undefined) throw appAbsent(folder)
  return parseApp({}, { file: manifest, defaultName, facts: readFacts })
}

async function readConfig(file: string, text: string, options: LoadOptions): Promise<unknown> {
  if (extname(file) === '.json') return parseJson(file, text)
  const hooks = provideDefineApp()
  try {
    const module: { default?: unknown } = await withDeadline(file, import(pathToFileURL(file).href), options)
    if (module.default === undefined) throw appLoad(file, 'no default export')
    return module.default
  } catch (error) {
    throw await explain(file, error, options.signal)
  } finally {
    hooks.deregister()
  }
}

/** An import cannot be ended: one that waits for ever is left alone, and the error says so. */
async function withDeadline<T>(file: string, loading: Promise<T>, { timeoutMs, signal }: LoadOptions): Promise<T> {
  const { promise: stopped, reject } = Promise.withResolvers<never>()
  const limitMs = timeoutMs ?? 30_000
  const timer = setTimeout(() => reject(appLoad(file, `it is not loaded after ${limitMs / 1000} s`)), limitMs)
  const abort = (): void => reject(signal?.reason)
  if (signal?.aborted) abort()
  signal?.addEventListener('abort', abort, { once: true })
  try {
    return await Promise.race([loading, stopped])
  } finally {
    clearTimeout(timer)
    signal?.removeEventListener('abort', abort)
  }
}

/** What {@link defineApp} is, as a module of its own. */
const OWN_MODULE = 'data:text/javascript,export%20const%20defineApp=(definition)=>definition'

/**
 * Lets a config file import `defineApp` from a folder in which this package is not installed. Where it is installed for us neither, as
 * in the published command, which is one bundle, the function is given as text: it returns what it gets.
 */
function provideDefineApp(): { deregister(): void } {
  return registerHooks({
    resolve(specifier, context, nextResolve) {
      try {
        return nextResolve(specifier, context)
      } catch (error) {
        if (specifier !== '@fairlead/delivery/app') throw error
        return { url: OWN_MODULE, format: 'module', shortCircuit: true }
      }
    },
  })
}

async function explain(file: string, error: unknown, signal: AbortSignal | undefined): Promise<unknown> {
  if (signal?.aborted) return error
  if (!(error instanceof Error) || ('code' in error && error.code === 'FAIRLEAD_DELIVERY_APP_LOAD')) return error
  if (!(error instanceof SyntaxError)) return appLoad(lineInStack(file, error), 'it threw while it was loaded', error)
  // Type stripping puts "file:line" on the first line of the stack; for plain JavaScript only `node --check` tells it.
  const where = /^(?:file:\/\/)?(\/.*:\d+)\n/.exec(error.stack ?? '')?.[1] ?? (await checkSyntax(file)) ?? file
  return appSyntax(where, error.message, error)
}

function lineInStack(file: string, error: Error): string {
  const frame = (error.stack ?? '').split('\n').find((line) => line.includes(`${pathToFileURL(file).href}:`))
  const line = frame === undefined ? undefined : /:(\d+):\d+\)?$/.exec(frame)?.[1]
  return line === undefined ? file : `${file}:${line}`
}

async function checkSyntax(file: string): Promise<string | undefined> {
  try {
    await promisify(execFile)(process.execPath, ['--check', file], { timeout: 10_000 })
    return undefined
  } catch (error) {
    const output = error instanceof Error && 'stderr' in error ? String(error.stderr) : ''
    return /^(?:file:\/\/)?(\/.*:\d+)\n/.exec(output)?.[1]
  }
}

function parseJson(file: string, text: string): unknown {
  try {
    return JSON.parse(text)
  } catch (error) {
    const reason = error instanceof Error ? error.message : String(error)
    const position = /at position (\d+)/.exec(reason)?.[1]
    const line = position === undefined ? undefined : text.slice(0, Number(position)).split('\n').length
    const where = line === undefined ? file : `${file}:${line}`
    throw appSyntax(where, reason.replace(/ in JSON at position.*| \(line.*/s, ''), error)
  }
}

interface PackageManifest {
  readonly name?: string
  readonly version?: string
  readonly dependencies?: Readonly<Record<string, string>>
}

function readFacts(dir: string): ServiceFacts {
  const manifest = readPackage(dir)
  return {
    exists: existsSync(dir),
    version: manifest?.version,
    usesServiceKit: manifest?.dependencies?.['@fairlead/service'] !== undefined,
  }
}

/** A `package.json` that does not parse counts as absent here: the image builder tells what is wrong with it. */
function readPackage(dir: string): PackageManifest | undefined {
  try {
    const manifest: PackageManifest | null = JSON.parse(readFileSync(join(dir, 'package.json'), 'utf8'))
    return manifest ?? undefined
  } catch {
    return undefined
  }
}

/** The nearest DNS label: scope dropped, other characters replaced. */
function toName(name: string): string {
  const label = name
    .replace(/^@[^/]*\//, '')
    .toLowerCase()
    .replaceAll(/[^a-z0-9]+/g, '-')
    .replace(/^[^a-z]+/, '')
    .slice(0, 52)
    .replace(/-+$/, '')
  return label === '' ? 'app' : label
}
