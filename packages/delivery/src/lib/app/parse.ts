import { dirname, relative, resolve } from 'node:path'
import { appInvalid } from '../errors.ts'
import { type BackingEngine, ENGINES } from '../backing/engines.ts'
import type {
  App,
  AppBacking,
  AppDefinition,
  AppService,
  BackingDefinition,
  Health,
  Resources,
  ServiceDefinition,
} from './definition.ts'
import { type KeyPath, locateKey } from './locate.ts'
import { maxQuantity, parseQuantity } from './quantity.ts'
import { checkDefinition, type Problem } from './schema.ts'

/** What is known about a service from its folder. */
export interface ServiceFacts {
  /** Whether the folder exists. */
  readonly exists: boolean
  /** Version in its `package.json`. */
  readonly version?: string | undefined
  /** Whether it depends on `@fairlead/service`. */
  readonly usesServiceKit: boolean
}

/** Where a definition came from. */
export interface AppSource {
  /** Absolute path of the file; service folders are relative to its folder. */
  readonly file: string
  /** Text of the file, to tell the lines of problems. Default: no lines. */
  readonly text?: string | undefined
  /** Name of the app when the definition has none. */
  readonly defaultName: string
  /** Looks into the absolute folder of a service. */
  readonly facts: (dir: string) => ServiceFacts
}

const defaultPort = 8080
const defaultResources: Resources = {
  requests: { cpu: '100m', memory: '128Mi' },
  limits: { cpu: '1', memory: '256Mi' },
}
const backingResources: Resources = {
  requests: { cpu: '100m', memory: '256Mi' },
  limits: { cpu: '1', memory: '512Mi' },
}

/**
 * Checks a definition and fills in every default. Pure but for `source.facts`.
 * @throws AggregateError `FAIRLEAD_DELIVERY_APP_INVALID` with one error per problem.
 */
export function parseApp(input: unknown, source: AppSource): App {
  const checked = checkDefinition(input)
  if ('problems' in checked) throw invalid(checked.problems, source)
  const app = complete(checked.definition, source)
  const problems = checkApp(app, source)
  if (problems.length > 0) throw invalid(problems, source)
  return app
}

function complete(definition: AppDefinition, source: AppSource): App {
  const dir = dirname(source.file)
  const name = definition.name ?? source.defaultName
  const backing = Object.entries(definition.backing ?? {}).map(([key, value]) => completeBacking(key, value, name))
  const uses = backing.map((found) => found.name)
  const services = definition.services ?? { [name]: { dir: '.', public: true, uses } }
  const isPublicPortChosen = definition.services !== undefined
  return {
    name,
    namespace: definition.namespace,
    dir,
    file: source.file,
    ...(backing.length > 0 && { backing }),
    services: Object.entries(services).map(([serviceName, service]) => {
      const serviceDir = resolve(dir, service.dir ?? serviceName)
      return { ...completeService(serviceName, service, serviceDir, source.facts(serviceDir)), isPublicPortChosen }
    }),
  }
}

function completeService(
  name: string,
  service: ServiceDefinition,
  dir: string,
  facts: ServiceFacts,
): Omit<AppService, 'isPublicPortChosen'> {
  const port = service.port ?? defaultPort
  return {
    name,
    dir,
    version: facts.version ?? '0.0.0',
    port,
    public: service.public === true ? port : service.public === false ? undefined : service.public,
    replicas: service.replicas ?? 1,
    env: service.env ?? {},
    ...(service.uses !== undefined && service.uses.length > 0 && { uses: service.uses }),
    config: service.config ?? {},
    volumes: service.volumes ?? {},
    resources: completeResources(service.resources, defaultResources),
    health: completeHealth(service.health ?? (facts.usesServiceKit ? 'http' : 'tcp')),
    terminationGracePeriodSeconds: service.terminationGracePeriodSeconds ?? 30,
    ...(service.allowSecrets === undefined ? {} : { allowSecrets: service.allowSecrets }),
  }
}

function completeBacking(name: string, value: BackingEngine | BackingDefinition, appName: string): AppBacking {
  const definition = typeof value === 'string' ? { engine: value } : value
  const { repository, version: known, user, has } = ENGINES[definition.engine]
  const version = definition.version ?? known
  const database = definition.database ?? appName.replaceAll('-', '_')
  return {
    name,
    engine: definition.engine,
    version,
    image: definition.image ?? `${repository}:${version}`,
    username: has.username ? database : '',
    database,
    storage: definition.storage ?? '1Gi',
    user: definition.user ?? user,
    resources: completeResources(definition.resources, backingResources),
  }
}

/** A request above the default limit raises that limit; limits that were written are kept. */
function completeResources(
  { requests = {}, limits = {} }: NonNullable<ServiceDefinition['resources']> = {},
  defaults: Resources,
): Resources {
  const cpu = requests.cpu ?? smaller(defaults.requests.cpu, limits.cpu)
  const memory = requests.memory ?? smaller(defaults.requests.memory, limits.memory)
  return {
    requests: { cpu, memory },
    limits: {
      cpu: limits.cpu ?? maxQuantity(defaults.limits.cpu, cpu),
      memory: limits.memory ?? maxQuantity(defaults.limits.memory, memory),
    },
  }
}

function smaller(amount: string, limit: string | undefined): string {
  return limit !== undefined && maxQuantity(amount, limit) === amount ? limit : amount
}

function completeHealth(health: NonNullable<ServiceDefinition['health']>): Health {
  if (typeof health === 'object') return { kind: 'http', ...health }
  return health === 'http' ? { kind: 'http', live: '/health/live', ready: '/health/ready' } : { kind: health }
}

/** What a schema cannot see: folders, and values that contradict each other. */
function checkApp(app: App, source: AppSource): Problem[] {
  const problems: Problem[] = []
  const publicPorts = new Map<number, string>()
  for (const { name, dir, public: port, resources, env } of app.services) {
    if ('PORT' in env) problems.push({ path: ['services', name, 'env', 'PORT'], text: 'is set from the key "port"' })
    if (!source.facts(dir).exists) {
      const folder = relative(app.dir, dir)
      problems.push({ path: ['services', name], text: `has no folder "${folder}", expected one or the key "dir"` })
    }
    const sharing = port === undefined ? undefined : publicPorts.get(port)
    if (sharing !== undefined) {
      problems.push({ path: ['services', name, 'public'], text: `is ${port}, the public port of "${sharing}" too` })
    }
    if (port !== undefined) publicPorts.set(port, sharing ?? name)
    problems.push(...checkResources(['services', name], resources))
  }
  return [...problems, ...checkBacking(app)]
}

function checkResources(at: KeyPath, { requests, limits }: Resources): Problem[] {
  return (['cpu', 'memory'] as const)
    .filter((kind) => (parseQuantity(requests[kind]) ?? 0) > (parseQuantity(limits[kind]) ?? 0))
    .map((kind) => ({
      path: [...at, 'resources', 'requests', kind],
      text: `is "${requests[kind]}", expected at most the limit "${limits[kind]}"`,
    }))
}

/** Names that services use, and names that would be two objects. */
function checkBacking({ services, backing = [] }: App): Problem[] {
  const names = backing.map(({ name }) => name)
  const unknown = services.flatMap(({ name, uses = [] }) =>
    uses
      .filter((used) => !names.includes(used))
      .map((used) => ({
        path: ['services', name, 'uses'],
        text: `names "${used}", expected ${names.length === 0 ? 'it under the key "backing" of the app' : `one of ${names.join(', ')}`}`,
      })),
  )
  const twice = names
    .filter((name) => services.some((service) => service.name === name))
    .map((name) => ({ path: ['backing', name], text: 'has the name of a service, expected another' }))
  const resources = backing.flatMap((found) => checkResources(['backing', found.name], found.resources))
  return [...unknown, ...twice, ...resources]
}

function invalid(problems: readonly Problem[], { file, text }: AppSource): AggregateError {
  const lines = problems.map((problem) => {
    const line = text === undefined ? undefined : locateKey(text, problem.path)
    const where = line === undefined ? file : `${file}:${line}`
    return `${where}: ${problem.path.length === 0 ? 'the definition' : problem.path.join('.')} ${problem.text}`
  })
  return appInvalid(file, lines)
}
