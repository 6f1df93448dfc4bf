import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { text } from 'node:stream/consumers'
import { pathToFileURL } from 'node:url'
import { loadEntry } from '@fairlead/build/project'
import type { ConfigReport, ConfigValues, JsonSchema } from '@fairlead/service/config'
import { configUnreadable } from '../errors.ts'

/** What the configuration of a service is, and how it takes the values. */
export interface Inspection {
  readonly schema: JsonSchema
  readonly report: ConfigReport
}

/**
 * Loads a service folder in a process of its own and asks its configuration about `values`. The main module runs up to
 * `run(service)`, which hands the service over instead of running it. undefined for a service without configuration.
 *
 * @throws Error `FAIRLEAD_CLI_CONFIG_LOAD`
 */
export async function inspectConfig(
  dir: string,
  values: ConfigValues,
  options: { readonly env: NodeJS.ProcessEnv; readonly signal: AbortSignal; readonly timeoutMs?: number },
): Promise<Inspection | undefined> {
  const project = await loadEntry(dir)
  const { timeoutMs = 30_000 } = options
  const flags = ['--disable-warning=ExperimentalWarning', '--disable-warning=MODULE_TYPELESS_PACKAGE_JSON']
  const child = spawn(
    process.execPath,
    [...project.conditions.map((name) => `--conditions=${name}`), ...flags, '--input-type=module', '--eval', program],
    {
      cwd: project.dir,
      env: { ...options.env, FAIRLEAD_INSPECT: JSON.stringify({ entry: pathToFileURL(project.entry).href }) },
      // What the service prints while it is loaded is no result of ours.
      stdio: ['pipe', 'ignore', 'pipe', 'pipe'],
      signal: options.signal,
    },
  )
  const timer = setTimeout(() => child.kill('SIGKILL'), timeoutMs)
  try {
    const [, , stderr, answers] = child.stdio
    child.stdin?.on('error', () => {})
    child.stdin?.end(JSON.stringify(values))
    const [[code, signal], said, answer] = await Promise.all([
      once(child, 'exit') as Promise<[number | null, string | null]>,
      stderr === null ? '' : text(stderr as NodeJS.ReadableStream),
      text(answers as unknown as NodeJS.ReadableStream),
    ])
    if (signal === 'SIGKILL') throw configUnreadable(dir, `it is not loaded after ${timeoutMs / 1000} s`, said)
    if (code !== 0 || answer === '') throw configUnreadable(dir, 'it failed while it was loaded', said)
    // Written by the program below.
    return (JSON.parse(answer) as { readonly found?: Inspection }).found
  } finally {
    clearTimeout(timer)
  }
}

/** Runs in the child. A text, so that it needs no file beside the bundled command. */
const program = `
import { readFileSync, writeSync } from 'node:fs'
const { entry } = JSON.parse(process.env.FAIRLEAD_INSPECT)
delete process.env.FAIRLEAD_INSPECT
const values = JSON.parse(readFileSync(0, 'utf8'))
process.on('uncaughtException', (error) => {
  // Where it is in the service, not how Node came there.
  const lines = String(error?.stack ?? error).split('\\n').filter((line) => !/\\(?node:|evalmachine/.test(line))
  process.stderr.write(lines.slice(0, 8).join('\\n'))
  process.exit(1)
})
const handedOver = Promise.withResolvers()
globalThis[Symbol.for('fairlead.inspect')] = handedOver.resolve
const isConfig = (value) => typeof value === 'object' && value !== null && '~config' in value
const configOf = (value) => isConfig(value) ? value : isConfig(value?.definition?.config) ? value.definition.config : undefined
const loaded = import(entry).then((module) => Object.values(module).find((value) => configOf(value) !== undefined))
const config = configOf(await Promise.race([handedOver.promise, loaded]))
// The folder where fairlead.config.ts has its files mounted, if the service looks there.
const isRead = ({ name }) => name !== '/etc/config' || [config.options.dir ?? []].flat().includes(name)
if (config && values.mounted) values.mounted = values.mounted.filter(isRead)
const found = config && { schema: config.jsonSchema(), report: await config['~check'](values) }
const answer = Buffer.from(JSON.stringify({ found }))
for (let at = 0; at < answer.length; ) at += writeSync(3, answer, at)
process.exit(0)
`
