import { existsSync } from 'node:fs'
import { join, relative, resolve, sep } from 'node:path'
import type { ComposeService } from '@fairlead/build/eject'
import { type App, type AppService, loadApp, parseQuantity } from '@fairlead/delivery/app'
import { listBackingContainers, listLocalVariables } from '@fairlead/delivery/render'
import { type Command, defineCommand, jsonOption } from '../command.ts'
import { type EjectedAppService, ejectServices, noteUnpinned, toHealth } from '../eject/services.ts'

/** `fairlead eject compose` */
export const ejectCompose: Command = defineCommand({
  name: 'eject compose',
  summary: 'write a compose file for an app and the databases it needs',
  description: [
    'Writes compose.yaml with every service, its environment, health check and limits. Databases and brokers under',
    '"backing", or that an environment variable names (postgres://, mysql://, redis://, mongodb://, amqp://, nats://),',
    'become services beside them. Dockerfiles are written as well where there are none.',
  ].join('\n'),
  args: ['[dir]'],
  options: {
    output: {
      type: 'string',
      value: 'FILE',
      help: 'the file to write; default: compose.yaml in the folder of the app',
    },
    force: { type: 'boolean', help: 'replace a file that is there' },
    json: jsonOption,
  },
  examples: [
    { command: 'fairlead eject compose && docker compose up --build', text: 'the app in this folder' },
    { command: 'fairlead eject compose examples/shop --output /tmp/shop.yaml', text: 'to another file' },
  ],
  async run({ options, args: [dir = '.'], env, cwd, terminal, signal }) {
    const { COMPOSE_PORT, renderCompose, writeEjected } = await import('@fairlead/build/eject')
    const app = await loadApp(resolve(cwd, dir), { signal })
    const file = resolve(cwd, options.output ?? join(app.dir, 'compose.yaml'))
    const services = await ejectServices(app, { env, signal })
    const base = join(file, '..')
    const composed = services.map(({ service, ejected }) =>
      toComposeService(app, { service, ejected }, base, ejected.probe(service.public ?? COMPOSE_PORT)),
    )
    const missing = services.filter(({ ejected }) => !existsSync(ejected.dockerfile))
    const files = [
      { path: file, text: renderCompose({ name: app.name, services: composed, backing: listBackingContainers(app) }) },
      ...missing.flatMap(({ ejected }) => ejected.files),
    ]
    const written = await writeEjected(files, { isForced: options.force })
    noteUnpinned(missing, terminal)
    if (options.json) terminal.printJson({ app: app.name, file, files: files.map(({ path }) => path), written })
    else
      for (const { path } of files)
        terminal.print(`${relative(cwd, path)}${written.includes(path) ? '' : ' (unchanged)'}`)
  },
})

function toComposeService(
  app: App,
  { service, ejected }: EjectedAppService,
  base: string,
  probe: readonly string[],
): ComposeService {
  const { name, version, replicas, config, volumes, resources } = service
  return {
    name,
    version,
    context: toPath(relative(base, ejected.contextDir)),
    dockerfile: relative(ejected.contextDir, ejected.dockerfile).split(sep).join('/'),
    public: service.public,
    replicas,
    env: { ...listLocalVariables(app, service), ...toEnv(service) },
    config,
    volumes: Object.fromEntries(Object.entries(volumes).map(([path, volume]) => [path, toVolume(volume)])),
    cpus: parseQuantity(resources.limits.cpu) ?? 1,
    memoryBytes: parseQuantity(resources.limits.memory) ?? 256 * 2 ** 20,
    health: toHealth(service),
    probe,
    gracePeriodSeconds: service.terminationGracePeriodSeconds,
  }
}

/** Of a Secret or ConfigMap, the machine has to say what the key holds: `SHOP_DB_PASSWORD` for `shop-db` and `password`. */
function toEnv({ env }: AppService): ComposeService['env'] {
  const variable = (name: string, key: string): string => `${name}_${key}`.toUpperCase().replaceAll(/[^A-Z0-9]+/g, '_')
  return Object.fromEntries(
    Object.entries(env).map(([name, value]) => {
      if (typeof value !== 'object') return [name, String(value)]
      return [name, { variable: variable('secret' in value ? value.secret : value.configMap, value.key) }]
    }),
  )
}

function toVolume(volume: AppService['volumes'][string]): ComposeService['volumes'][string] {
  if (volume === 'ephemeral') return { kind: 'ephemeral' }
  if ('ephemeral' in volume) {
    const bytes = parseQuantity(volume.ephemeral.sizeLimit)
    return { kind: 'ephemeral', sizeLimit: bytes === undefined ? undefined : String(bytes) }
  }
  return { kind: 'files', name: 'secret' in volume ? volume.secret : volume.configMap }
}

function toPath(path: string): string {
  const text = path.split(sep).join('/')
  return text === '' ? '.' : text.startsWith('.') ? text : `./${text}`
}
