/** A database or broker that an app needs, as an image with its settings. */
export interface Backing {
  /** Host name in the address. */
  name: string
  image: string
  port: number
  env: Readonly<Record<string, string>>
  command: readonly string[] | undefined
  /** Folder with what must survive. */
  data: string | undefined
  health: readonly string[] | undefined
  /** Names of the services that use it. */
  users: readonly string[]
}

interface Address {
  user: string
  password: string
  database: string
}

interface Engine {
  image: string
  port: number
  data?: string
  env?: (address: Address) => Record<string, string>
  command?: (address: Address) => readonly string[] | undefined
  health?: (address: Address) => readonly string[]
}

const postgres: Engine = {
  image: 'docker.io/library/postgres:17-alpine',
  port: 5432,
  data: '/var/lib/postgresql/data',
  env: ({ user, password, database }) => ({
    POSTGRES_USER: user || 'postgres',
    POSTGRES_PASSWORD: password || 'postgres',
    POSTGRES_DB: database || user || 'postgres',
  }),
  health: ({ user, database }) => ['pg_isready', '-U', user || 'postgres', '-d', database || user || 'postgres'],
}

const sqlEnv =
  (prefix: string) =>
  ({ user, password, database }: Address): Record<string, string> => ({
    [`${prefix}_DATABASE`]: database || 'app',
    ...(user === '' || user === 'root' ? {} : { [`${prefix}_USER`]: user, [`${prefix}_PASSWORD`]: password }),
    [`${prefix}_ROOT_PASSWORD`]: password || 'root',
  })

const mysql: Engine = {
  image: 'docker.io/library/mysql:8.4',
  port: 3306,
  data: '/var/lib/mysql',
  env: sqlEnv('MYSQL'),
  // Over TCP: while it sets itself up it listens at its socket only.
  health: ({ password }) => ['mysqladmin', 'ping', '-h', '127.0.0.1', '-u', 'root', `-p${password || 'root'}`],
}

const redis: Engine = {
  image: 'docker.io/library/redis:8-alpine',
  port: 6379,
  data: '/data',
  command: ({ password }) => (password === '' ? undefined : ['redis-server', '--requirepass', password]),
  health: ({ password }) => ['redis-cli', ...(password === '' ? [] : ['-a', password]), 'ping'],
}

const mongodb: Engine = {
  image: 'docker.io/library/mongo:8.0',
  port: 27_017,
  data: '/data/db',
  env: ({ user, password, database }) => ({
    ...(user === '' ? {} : { MONGO_INITDB_ROOT_USERNAME: user, MONGO_INITDB_ROOT_PASSWORD: password }),
    ...(database === '' ? {} : { MONGO_INITDB_DATABASE: database }),
  }),
  health: () => ['mongosh', '--quiet', '--eval', 'db.adminCommand("ping").ok'],
}

const rabbitmq: Engine = {
  image: 'docker.io/library/rabbitmq:4-alpine',
  port: 5672,
  data: '/var/lib/rabbitmq',
  env: ({ user, password }) => (user === '' ? {} : { RABBITMQ_DEFAULT_USER: user, RABBITMQ_DEFAULT_PASS: password }),
  health: () => ['rabbitmq-diagnostics', '-q', 'check_port_connectivity'],
}

const nats: Engine = {
  image: 'docker.io/library/nats:2-alpine',
  port: 4222,
  command: () => ['-js', '-sd', '/data', '-m', '8222'],
  data: '/data',
  health: () => ['wget', '-q', '-O', '/dev/null', 'http://127.0.0.1:8222/healthz'],
}

/** By the scheme of the address that a service is given. */
const ENGINES: Readonly<Record<string, Engine>> = {
  'postgres:': postgres,
  'postgresql:': postgres,
  'mysql:': mysql,
  'mariadb:': {
    ...mysql,
    image: 'docker.io/library/mariadb:11.4',
    env: sqlEnv('MARIADB'),
    health: () => ['healthcheck.sh', '--connect', '--innodb_initialized'],
  },
  'redis:': redis,
  'mongodb:': mongodb,
  'amqp:': rabbitmq,
  'nats:': nats,
}

/**
 * Databases and brokers that environment variables of services name by an address such as `postgres://app:secret@db/app`, where
 * the host is none of the services and no host of the wide world.
 */
export function findBacking(
  services: readonly { name: string; env: Readonly<Record<string, string | { variable: string }>> }[],
  names: ReadonlySet<string>,
): Backing[] {
  const found = new Map<string, Backing>()
  for (const service of services) {
    for (const value of Object.values(service.env)) {
      const url = typeof value === 'string' && URL.canParse(value) ? new URL(value) : undefined
      const engine = url && ENGINES[url.protocol]
      if (!url || !engine || names.has(url.hostname) || !/^[a-z][a-z0-9-]*$/.test(url.hostname)) continue
      if (url.hostname === 'localhost') continue
      const known = found.get(url.hostname)
      const users = [...new Set([...(known?.users ?? []), service.name])]
      found.set(url.hostname, known ? { ...known, users } : toBacking(url, engine, users))
    }
  }
  return [...found.values()].toSorted((a, b) => (a.name < b.name ? -1 : 1))
}

function toBacking(url: URL, engine: Engine, users: readonly string[]): Backing {
  const address = {
    user: decodeURIComponent(url.username),
    password: decodeURIComponent(url.password),
    database: decodeURIComponent(url.pathname.replace(/^\//, '')),
  }
  return {
    name: url.hostname,
    image: engine.image,
    port: engine.port,
    env: engine.env?.(address) ?? {},
    command: engine.command?.(address),
    data: engine.data,
    health: engine.health?.(address),
    users,
  }
}
