import { dirname, relative, resolve } from 'node:path'
import { appInvalid } from '../errors.ts'
import type { App, AppDefinition, AppService, Health, Resources, ServiceDefinition } from './definition.ts'
import { locateKey } from './locate.ts'
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
  const services = definition.services ?? { [name]: { dir: '.', public: true } }
  const isPublicPortChosen = definition.services !== undefined
  return {
    name,
    namespace: definition.namespace,
    dir,
    file: source.file,
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
    config: service.config ?? {},
    volumes: service.volumes ?? {},
    resources: completeResources(service.resources),
    health: completeHealth(service.health ?? (facts.usesServiceKit ? 'http' : 'tcp')),
    terminationGracePeriodSeconds: service.terminationGracePeriodSeconds ?? 30,
    ...(service.allowSecrets === undefined ? {} : { allowSecrets: service.allowSecrets }),
  }
}

/** A request above the default limit raises that limit; limits that were written are kept. */
function completeResources({
  requests = {},
  limits = {},
}: NonNullable<ServiceDefinition['resources']> = {}): Resources {
  const cpu = requests.cpu ?? smaller(defaultResources.requests.cpu, limits.cpu)
  const memory = requests.memory ?? smaller(defaultResources.requests.memory, limits.memory)
  return {
    requests: { cpu, memory },
    limits: {
      cpu: limits.cpu ?? maxQuantity(defaultResources.limits.cpu, cpu),
      memory: limits.memory ?? maxQuantity(defaultResources.limits.memory, memory),
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
    for (const kind of ['cpu', 'memory'] as const) {
      const [request, limit] = [resources.requests[kind], resources.limits[kind]]
      if ((parseQuantity(request) ?? 0) > (parseQuantity(limit) ?? 0)) {
        const path = ['services', name, 'resources', 'requests', kind]
        problems.push({ path, text: `is "${request}", expected at most the limit "${limit}"` })
      }
    }
  }
  return problems
}

function invalid(problems: readonly Problem[], { file, text }: AppSource): AggregateError {
  const lines = problems.map((problem) => {
    const line = text === undefined ? undefined : locateKey(text, problem.path)
    const where = line === undefined ? file : `${file}:${line}`
    return `${where}: ${problem.path.length === 0 ? 'the definition' : problem.path.join('.')} ${problem.text}`
  })
  return appInvalid(file, lines)
}
