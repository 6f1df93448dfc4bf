/** Databases and brokers that are known by name. */
export type BackingEngine = 'postgres' | 'mysql' | 'mariadb' | 'redis' | 'mongodb' | 'rabbitmq' | 'nats'

/** How to reach one, and as whom. Texts may be empty where an engine does without. */
export interface Account {
  username: string
  password: string
  database: string
}

/** What an engine's official image (Docker Official Images) expects and offers. */
export interface Engine {
  /** Name in Service Binding (servicebinding.io) Secrets. */
  type: string
  repository: string
  /** Tag of the image that is taken where none is asked for. */
  version: string
  port: number
  scheme: string
  /** User id of the program in the image. */
  user: number
  /** Folder with what must survive, by version. */
  data: (version: string) => string
  env?: (account: Account) => Readonly<Record<string, string>>
  /** More variables where the data lie on a volume of a cluster. */
  clusterEnv?: (version: string) => Readonly<Record<string, string>>
  command?: (account: Account) => readonly string[] | undefined
  /** Answers with 0 when it takes requests. Names no password: everybody on a machine sees the arguments of programs. */
  health: (account: Account) => readonly string[]
  /** Folders it writes to beside its data; without them its root file system can be written. */
  scratch?: readonly string[]
  /** Variables that clients look at by custom, with the field of the Secret they hold. */
  variables: Readonly<Record<string, CredentialField>>
  /** Whether it has accounts and databases of its own. */
  has: { username: boolean; database: boolean }
}

/** Keys of the Secret, as Service Binding for Kubernetes 1.0 names them. */
export type CredentialField = 'type' | 'host' | 'port' | 'username' | 'password' | 'database' | 'uri'

const postgres: Engine = {
  type: 'postgresql',
  repository: 'docker.io/library/postgres',
  version: '17',
  port: 5432,
  scheme: 'postgres',
  user: 999,
  // Since 18 the image keeps a folder per major version below.
  data: (version) => (Number.parseInt(version, 10) >= 18 ? '/var/lib/postgresql' : '/var/lib/postgresql/data'),
  env: ({ username, password, database }) => ({
    POSTGRES_USER: username || 'postgres',
    POSTGRES_PASSWORD: password || 'postgres',
    POSTGRES_DB: database || username || 'postgres',
  }),
  // A volume may hold "lost+found", and its owner is another: initdb wants a folder of its own.
  clusterEnv: (version) => (Number.parseInt(version, 10) >= 18 ? {} : { PGDATA: '/var/lib/postgresql/data/pgdata' }),
  // Over TCP: while it sets itself up it listens at its socket only.
  health: ({ username, database }) => {
    const user = username || 'postgres'
    return ['pg_isready', '-h', '127.0.0.1', '-U', user, '-d', database || user]
  },
  scratch: ['/tmp', '/var/run/postgresql'],
  variables: {
    DATABASE_URL: 'uri',
    PGHOST: 'host',
    PGPORT: 'port',
    PGUSER: 'username',
    PGPASSWORD: 'password',
    PGDATABASE: 'database',
  },
  has: { username: true, database: true },
}

const sqlEnv =
  (prefix: string) =>
  ({ username, password, database }: Account): Record<string, string> => ({
    [`${prefix}_DATABASE`]: database || 'app',
    ...(username === '' || username === 'root'
      ? {}
      : { [`${prefix}_USER`]: username, [`${prefix}_PASSWORD`]: password }),
    [`${prefix}_ROOT_PASSWORD`]: password || 'root',
  })

const mysql: Engine = {
  type: 'mysql',
  repository: 'docker.io/library/mysql',
  version: '8.4',
  port: 3306,
  scheme: 'mysql',
  user: 999,
  data: () => '/var/lib/mysql',
  env: sqlEnv('MYSQL'),
  // Over TCP, as above. A refused login is an answer too.
  health: () => ['mysqladmin', 'ping', '-h', '127.0.0.1', '-u', 'root'],
  variables: {
    DATABASE_URL: 'uri',
    MYSQL_HOST: 'host',
    MYSQL_PORT: 'port',
    MYSQL_USER: 'username',
    MYSQL_PASSWORD: 'password',
    MYSQL_DATABASE: 'database',
  },
  has: { username: true, database: true },
}

/** By the word a definition uses. */
export const ENGINES: Readonly<Record<BackingEngine, Engine>> = {
  postgres,
  mysql,
  mariadb: {
    ...mysql,
    repository: 'docker.io/library/mariadb',
    version: '11.4',
    env: sqlEnv('MARIADB'),
    health: () => ['healthcheck.sh', '--connect', '--innodb_initialized'],
  },
  redis: {
    type: 'redis',
    repository: 'docker.io/library/redis',
    version: '8',
    port: 6379,
    scheme: 'redis',
    user: 999,
    data: () => '/data',
    env: ({ password }) => (password === '' ? {} : { REDISCLI_AUTH: password }),
    command: ({ password }) =>
      password === '' ? undefined : ['redis-server', '--appendonly', 'yes', '--requirepass', password],
    health: () => ['redis-cli', '-e', 'ping'],
    scratch: ['/tmp'],
    variables: { REDIS_URL: 'uri' },
    has: { username: false, database: false },
  },
  mongodb: {
    type: 'mongodb',
    repository: 'docker.io/library/mongo',
    version: '8.0',
    port: 27_017,
    scheme: 'mongodb',
    user: 999,
    data: () => '/data/db',
    env: ({ username, password, database }) => ({
      ...(username === '' ? {} : { MONGO_INITDB_ROOT_USERNAME: username, MONGO_INITDB_ROOT_PASSWORD: password }),
      ...(database === '' ? {} : { MONGO_INITDB_DATABASE: database }),
    }),
    health: () => ['mongosh', '--quiet', '--eval', 'db.adminCommand("ping").ok'],
    variables: { MONGODB_URI: 'uri' },
    has: { username: true, database: true },
  },
  rabbitmq: {
    type: 'rabbitmq',
    repository: 'docker.io/library/rabbitmq',
    version: '4',
    port: 5672,
    scheme: 'amqp',
    user: 999,
    data: () => '/var/lib/rabbitmq',
    env: ({ username, password }) =>
      username === '' ? {} : { RABBITMQ_DEFAULT_USER: username, RABBITMQ_DEFAULT_PASS: password },
    health: () => ['rabbitmq-diagnostics', '-q', 'check_port_connectivity'],
    variables: { AMQP_URL: 'uri' },
    has: { username: true, database: false },
  },
  nats: {
    type: 'nats',
    repository: 'docker.io/library/nats',
    version: '2-alpine',
    port: 4222,
    scheme: 'nats',
    user: 65_532,
    data: () => '/data',
    command: ({ username, password }) => [
      'nats-server',
      '-js',
      '-sd',
      '/data',
      '-m',
      '8222',
      ...(username === '' ? [] : ['--user', username, '--pass', password]),
    ],
    health: () => ['wget', '-q', '-O', '/dev/null', 'http://127.0.0.1:8222/healthz'],
    scratch: ['/tmp'],
    variables: { NATS_URL: 'uri' },
    has: { username: true, database: false },
  },
}

/** The engine that an address such as `postgres://…` means. */
export function engineOfScheme(scheme: string): BackingEngine | undefined {
  const known: Readonly<Record<string, BackingEngine>> = {
    postgres: 'postgres',
    postgresql: 'postgres',
    mysql: 'mysql',
    mariadb: 'mariadb',
    redis: 'redis',
    mongodb: 'mongodb',
    amqp: 'rabbitmq',
    nats: 'nats',
  }
  return known[scheme]
}
