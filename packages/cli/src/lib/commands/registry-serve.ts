import { once } from 'node:events'
import { readFileSync } from 'node:fs'
import { resolve } from 'node:path'
import type { RegistryLog, ServeOptions } from '@fairlead/oci/server'
import { type Command, defineCommand, jsonOption } from '../command.ts'
import { currentUid, registryUser } from '../embedded/registry.ts'
import { inputUnreadable, usage } from '../errors.ts'
import { prepareHomes } from '../homes.ts'
import { parseChoice, parseInteger } from '../parse-command.ts'

const defaultPort = 5000

/** `fairlead registry serve` */
export const registryServe: Command = defineCommand({
  name: 'registry serve',
  summary: 'serve images as an OCI registry',
  description: [
    'Serves the local image store, so what "fairlead build" made can be pulled at once, and what is pushed can be run. Listens on',
    'this machine only, where all may pull and you and root may push (on Linux; elsewhere everybody on it), unless asked',
    'otherwise; other addresses need TLS and a login. Garbage is collected while it runs. Ends at Ctrl-C or SIGTERM. The log',
    'goes to stderr.',
    '--config names a JSON file with any of "rules", "tagMutability", "upstreams", "collect", "scrub", "tokens", "names" and',
    'limits, as in the guide docs/guides/registry.md.',
  ].join('\n'),
  options: {
    dir: { type: 'string', value: 'DIR', help: 'the store, an OCI layout; default: the local image store' },
    port: { type: 'string', value: 'N', help: `port; default ${defaultPort}, 0 for a free one` },
    host: { type: 'string', value: 'ADDRESS', help: 'address to listen at; default 127.0.0.1' },
    htpasswd: { type: 'string', value: 'FILE', help: 'names and passwords, as htpasswd -B writes them' },
    anonymous: { type: 'string', value: 'WHAT', help: 'without a login: none, pull or all' },
    'tls-cert': { type: 'string', value: 'FILE', help: 'certificate with its chain, PEM' },
    'tls-key': { type: 'string', value: 'FILE', help: 'key of the certificate, PEM' },
    'plain-http': { type: 'boolean', help: 'serve other machines without TLS, behind a proxy that has it' },
    mirror: {
      type: 'string',
      value: 'REGISTRY',
      help: 'serve what this registry has too, and keep what was asked for',
    },
    scan: { type: 'boolean', help: 'look for known vulnerabilities in what is pushed, and log them' },
    config: { type: 'string', value: 'FILE', help: 'further settings, JSON' },
    json: jsonOption,
  },
  examples: [
    { command: 'fairlead registry serve', text: 'then: podman pull --tls-verify=false 127.0.0.1:5000/shop/web:latest' },
    {
      command:
        'fairlead registry serve --host 0.0.0.0 --tls-cert c.pem --tls-key k.pem --htpasswd users --anonymous pull',
      text: 'for others: all may pull, users may push',
    },
    { command: 'fairlead registry serve --port 5001 --dir cache --mirror docker.io', text: 'a pull-through cache' },
  ],
  async run({ options, homes, env, cwd, terminal, signal }) {
    const settings = options.config === undefined ? {} : readSettings(resolve(cwd, options.config))
    const { 'tls-cert': cert, 'tls-key': key } = options
    if ((cert === undefined) !== (key === undefined)) {
      throw usage('Cannot use --tls-cert without --tls-key, or the other way round', 'Give both')
    }
    if (options.dir === undefined) prepareHomes(homes)
    const storeDir = options.dir === undefined ? homes.images : resolve(cwd, options.dir)
    const { openClient } = await import('../image/registry.ts')
    const { serveRegistry } = await import('@fairlead/oci/server')
    const isArranged = [options.htpasswd, options.anonymous, settings.tokens, settings.rules].some(Boolean)
    const isLocal = options.host === undefined || /^(localhost|127\.[\d.]+|::1)$/.test(options.host)
    const anonymous = parseChoice('anonymous', options.anonymous, ['none', 'pull', 'all'])
    await using registry = await serveRegistry({
      upstreamClient: openClient(env),
      ...(isLocal && !isArranged ? ownersOnly() : {}),
      ...(options.mirror === undefined ? {} : { upstreams: [{ prefix: '', registry: options.mirror }] }),
      ...settings,
      dir: storeDir,
      port: parseInteger('port', options.port, 0, 65535) ?? defaultPort,
      host: options.host,
      htpasswd: options.htpasswd === undefined ? undefined : resolve(cwd, options.htpasswd),
      ...(anonymous === undefined ? {} : { anonymous }),
      plainHttp: options['plain-http'],
      ...(cert && key ? { tls: { cert: readInput(resolve(cwd, cert)), key: readInput(resolve(cwd, key)) } } : {}),
      onLog: (entry) => terminal.note(renderLogLine(entry)),
      onPushed: async ({ repository, digest, mediaType, subject, tags, user }) => {
        terminal.note(renderLogLine({ level: 'info', msg: 'image pushed', repository, digest, tags, user }))
        if (!options.scan || subject !== undefined) return
        const { scanPushed } = await import('../scan/pushed.ts')
        const found = await scanPushed({ storeDir, digest, mediaType, repository, homes, signal })
        if (found) terminal.note(renderLogLine({ msg: 'image scanned', repository, digest, ...found }))
      },
    })
    const { url, address, dir } = registry
    // One line, so that a script can read it while the command goes on.
    if (options.json) terminal.print(JSON.stringify({ url, address, dir, pid: process.pid }))
    else terminal.print(`${url} serves ${dir}`)
    if (!signal.aborted) await once(signal, 'abort')
    return 0
  },
})

/** Others on this machine may pull; where the kernel does not tell who they are, all may do everything. */
function ownersOnly(): Partial<ServeOptions> {
  const uid = currentUid()
  return uid === undefined ? {} : { owner: { name: registryUser, uid }, anonymous: 'pull' }
}

/** What a settings file may hold; the options of the command line come after it. */
const settingNames = [
  'rules',
  'login',
  'tokens',
  'service',
  'names',
  'tagMutability',
  'upstreams',
  'missingContent',
  'collect',
  'scrub',
  'maxUploads',
  'maxBlobBytes',
  'uploadIdleMs',
  'idleTimeoutMs',
] as const satisfies readonly (keyof ServeOptions)[]

function readSettings(file: string): Partial<ServeOptions> {
  let value: unknown
  try {
    value = JSON.parse(readInput(file))
  } catch (error) {
    throw error instanceof SyntaxError ? inputUnreadable(file, 'it is no JSON', error) : error
  }
  if (typeof value !== 'object' || value === null) throw inputUnreadable(file, 'it holds no object')
  const known: readonly string[] = settingNames
  const unknown = Object.keys(value).find((name) => !known.includes(name))
  if (unknown !== undefined) {
    throw inputUnreadable(file, `"${unknown}" is no setting: they are ${settingNames.join(', ')}`)
  }
  return value
}

function readInput(file: string): string {
  try {
    return readFileSync(file, 'utf8')
  } catch (error) {
    throw inputUnreadable(file, (error as NodeJS.ErrnoException).code ?? 'it cannot be read', error)
  }
}

function renderLogLine({ err, ...entry }: RegistryLog): string {
  const state =
    err instanceof Error
      ? {
          err: {
            message: err.message,
            stack: err.stack,
            cause: err.cause instanceof Error ? err.cause.message : undefined,
          },
        }
      : {}
  return JSON.stringify({ time: new Date().toISOString(), ...entry, ...state })
}
