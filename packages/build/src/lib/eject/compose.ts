import { Document, Scalar, isScalar, visit } from 'yaml'

import type { PlannedHealth } from './plan.ts'

/** An app in the words a compose file needs. */
export interface ComposeApp {
  name: string
  services: readonly ComposeService[]
  /** Databases and brokers beside the services. Default: none. */
  backing?: readonly ComposeBacking[] | undefined
}

/** A text; a variable of the machine that must be set; or a text around one that may be. */
export type ComposeText =
  | string
  | { readonly variable: string }
  | { readonly variable: string; readonly default: string; readonly before: string; readonly after: string }

/** A database or broker that services need. */
export interface ComposeBacking {
  /** Host name in the address. */
  name: string
  image: string
  port: number
  env: Readonly<Record<string, ComposeText>>
  command: readonly ComposeText[] | undefined
  /** Folder with what must survive. */
  data: string
  health: readonly string[]
  /** Names of the services that use it. */
  users: readonly string[]
}

/** One service of it. Paths are relative to the compose file, with forward slashes. */
export interface ComposeService {
  name: string
  version: string
  /** Folder that Docker is given, and the Dockerfile below it. */
  context: string
  dockerfile: string
  /** Port at which the machine reaches it; `undefined` for none. */
  public: number | undefined
  replicas: number
  /** Values, or the name of a variable of the machine that holds a value the cluster would take from elsewhere. */
  env: Readonly<Record<string, ComposeText>>
  /** Files at `/etc/config`. */
  config: Readonly<Record<string, string>>
  volumes: Readonly<
    Record<string, { kind: 'ephemeral'; sizeLimit?: string | undefined } | { kind: 'files'; name: string }>
  >
  cpus: number
  memoryBytes: number
  health: PlannedHealth
  /** The command that asks for the health, inside the container. */
  probe: readonly string[]
  gracePeriodSeconds: number
}

/** The port at which a service that is not public is reached by others: as on Kubernetes, `http://<name>`. */
export const COMPOSE_PORT = 80

/**
 * A compose file (compose-spec) of the app: the same names and ports as on the cluster, the same hardening, and the databases
 * and brokers that the addresses in its environment name.
 */
export function renderCompose(app: ComposeApp): string {
  const { backing = [] } = app
  const services = Object.fromEntries([
    ...app.services.map((service) => [service.name, renderService(app, service, backing)]),
    ...backing.map((found) => [found.name, renderBacking(found)]),
  ])
  const configs = Object.fromEntries(
    app.services.flatMap((service) =>
      Object.entries(service.config).map(([file, content]) => [
        configName(service, file),
        { content: escape(content) },
      ]),
    ),
  )
  const volumes = Object.fromEntries(backing.map(({ name }) => [`${name}-data`, {}]))
  const document = new Document({
    name: app.name,
    services,
    ...(Object.keys(configs).length > 0 ? { configs } : {}),
    ...(Object.keys(volumes).length > 0 ? { volumes } : {}),
  })
  document.commentBefore = ` Written by "fairlead eject compose"; it is yours now.\n   docker compose up --build`
  quoteTimes(document)
  return document.toString({ lineWidth: 120 })
}

function renderService(
  app: ComposeApp,
  service: ComposeService,
  backing: readonly ComposeBacking[],
): Record<string, unknown> {
  const port = service.public ?? COMPOSE_PORT
  const tmpfs = ['/tmp', ...Object.entries(service.volumes).flatMap(([path, volume]) => renderTmpfs(path, volume))]
  const files = Object.entries(service.volumes).flatMap(([path, volume]) =>
    volume.kind === 'files' ? [{ type: 'bind', source: `./${volume.name}`, target: path, read_only: true }] : [],
  )
  const dependsOn = dependencies(app, service, backing)
  const configs = Object.keys(service.config).map((file) => ({
    source: configName(service, file),
    target: `/etc/config/${file}`,
  }))
  return {
    image: `${app.name}/${service.name}:${service.version}`,
    build: { context: service.context, dockerfile: service.dockerfile, args: { VERSION: service.version } },
    environment: { PORT: String(port), ...renderEnv(service.env) },
    ...(service.public === undefined ? { expose: [String(port)] } : { ports: [`${port}:${port}`] }),
    ...(Object.keys(dependsOn).length > 0 ? { depends_on: dependsOn } : {}),
    ...renderHealth(service),
    restart: 'unless-stopped',
    stop_grace_period: `${service.gracePeriodSeconds}s`,
    read_only: true,
    tmpfs,
    ...(files.length > 0 ? { volumes: files } : {}),
    ...(configs.length > 0 ? { configs } : {}),
    cap_drop: ['ALL'],
    security_opt: ['no-new-privileges:true'],
    // Ports below 1024 without a capability.
    ...(port < 1024 ? { sysctls: { 'net.ipv4.ip_unprivileged_port_start': '0' } } : {}),
    deploy: {
      // Several containers cannot share one port of the machine.
      replicas: service.public === undefined ? service.replicas : Math.min(service.replicas, 1),
      resources: { limits: { cpus: String(service.cpus), memory: `${Math.ceil(service.memoryBytes / 2 ** 20)}M` } },
    },
  }
}

/** Mode 1777, as for /tmp: the service is not root. */
function renderTmpfs(path: string, volume: ComposeService['volumes'][string]): string[] {
  if (volume.kind !== 'ephemeral') return []
  return [volume.sizeLimit === undefined ? `${path}:mode=1777` : `${path}:mode=1777,size=${volume.sizeLimit}`]
}

function renderEnv(env: ComposeService['env']): Record<string, string> {
  return Object.fromEntries(Object.entries(env).map(([name, value]) => [name, renderText(value)]))
}

function renderText(value: ComposeText): string {
  if (typeof value === 'string') return escape(value)
  const { variable } = value
  if (!('default' in value)) return `\${${variable}:?set ${variable} in .env}`
  return `${escape(value.before)}\${${variable}:-${value.default}}${escape(value.after)}`
}

/** A dollar sign begins a variable in a compose file. */
function escape(text: string): string {
  return text.replaceAll('$', '$$$$')
}

function renderHealth({ health, probe }: ComposeService): Record<string, unknown> {
  if (health.kind === 'none') return { healthcheck: { disable: true } }
  return {
    healthcheck: {
      test: ['CMD', ...probe.map(escape)],
      interval: '5s',
      timeout: '3s',
      retries: 12,
      start_period: '30s',
    },
  }
}

/** Services and databases that the environment of this one names; of two that name each other, the first waits. */
function dependencies(
  app: ComposeApp,
  service: ComposeService,
  backing: readonly ComposeBacking[],
): Record<string, { condition: string }> {
  const reached = reachedBy(app, service.name)
  const others = app.services.filter(
    (other) => reached.includes(other.name) && !isReachable(app, other.name, service.name),
  )
  const condition = (isProbed: boolean): { condition: string } => ({
    condition: isProbed ? 'service_healthy' : 'service_started',
  })
  return Object.fromEntries([
    ...others.map((other) => [other.name, condition(other.health.kind !== 'none')]),
    ...backing.filter(({ users }) => users.includes(service.name)).map((found) => [found.name, condition(true)]),
  ])
}

function reachedBy(app: ComposeApp, name: string): string[] {
  const service = app.services.find((other) => other.name === name)
  const hosts = Object.values(service?.env ?? {}).map((value) => hostOf(value))
  return app.services.map((other) => other.name).filter((other) => other !== name && hosts.includes(other))
}

function isReachable(app: ComposeApp, from: string, to: string): boolean {
  const seen = new Set([from])
  for (const name of seen) for (const next of reachedBy(app, name)) seen.add(next)
  return seen.has(to)
}

function hostOf(value: ComposeText): string | undefined {
  return typeof value === 'string' && /^\w[\w+.-]*:\/\//.test(value) && URL.canParse(value)
    ? new URL(value).hostname
    : undefined
}

function renderBacking(found: ComposeBacking): Record<string, unknown> {
  return {
    image: found.image,
    ...(found.command === undefined ? {} : { command: found.command.map(renderText) }),
    ...(Object.keys(found.env).length > 0 ? { environment: renderEnv(found.env) } : {}),
    expose: [String(found.port)],
    volumes: [`${found.name}-data:${found.data}`],
    healthcheck: {
      test: ['CMD', ...found.health.map(escape)],
      interval: '2s',
      timeout: '5s',
      retries: 30,
      start_period: '30s',
    },
    restart: 'unless-stopped',
  }
}

function configName(service: ComposeService, file: string): string {
  return `${service.name}-${file.replaceAll(/[^a-zA-Z0-9_-]/g, '-')}`
}

/** `22:22` is a number in base 60 to YAML 1.1, which some readers of compose files still speak. */
function quoteTimes(document: Document): void {
  visit(document, {
    Scalar(_key, node) {
      if (isScalar(node) && typeof node.value === 'string' && /^[\d:.]+$/.test(node.value)) {
        node.type = Scalar.QUOTE_DOUBLE
      }
    },
  })
}
