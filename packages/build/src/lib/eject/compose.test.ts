import assert from 'node:assert/strict'
import { describe, it } from 'node:test'

import { parse } from 'yaml'

import { renderCompose } from './compose.ts'
import type { ComposeBacking, ComposeService } from './compose.ts'

function service(name: string, changes: Partial<ComposeService> = {}): ComposeService {
  return {
    name,
    version: '1.0.0',
    context: '.',
    dockerfile: `${name}/Dockerfile`,
    public: undefined,
    replicas: 1,
    env: {},
    config: {},
    volumes: {},
    cpus: 0.5,
    memoryBytes: 256 * 2 ** 20,
    health: { kind: 'tcp' },
    probe: ['/probe'],
    gracePeriodSeconds: 30,
    ...changes,
  }
}

describe('renderCompose', () => {
  it('keeps names and ports of the cluster, and starts what a service needs before it', () => {
    const text = renderCompose({
      name: 'shop',
      services: [service('web', { public: 8080, env: { API: 'http://api', PRICE: 'US$ 5' } }), service('api')],
    })
    const { services } = parse(text)
    assert.deepEqual(services.web.ports, ['8080:8080'])
    assert.deepEqual(services.web.depends_on, { api: { condition: 'service_healthy' } })
    assert.equal(services.web.environment.PRICE, 'US$$ 5')
    assert.equal(services.api.environment.PORT, '80')
    assert.equal(services.api.ports, undefined)
    assert.deepEqual(services.api.cap_drop, ['ALL'])
    assert.equal(services.api.read_only, true)
    assert.equal(services.api.deploy.resources.limits.memory, '256M')
  })

  it('does not let two services wait for each other', () => {
    const services = [service('a', { env: { B: 'http://b' } }), service('b', { env: { A: 'http://a' } })]
    const found = parse(renderCompose({ name: 'x', services })).services
    assert.equal(found.a.depends_on, undefined)
    assert.equal(found.b.depends_on, undefined)
  })

  it('brings databases with user, password, data and health check, and starts them before who uses them', () => {
    const db: ComposeBacking = {
      name: 'db',
      image: 'docker.io/library/postgres:17',
      port: 5432,
      env: { POSTGRES_USER: 'shop', POSTGRES_PASSWORD: 's$cret' },
      command: undefined,
      data: '/var/lib/postgresql/data',
      health: ['pg_isready', '-U', 'shop'],
      users: ['api'],
    }
    const password = { variable: 'CACHE_PASSWORD', default: 'local' }
    const cache: ComposeBacking = {
      ...db,
      name: 'cache',
      env: {},
      command: ['redis-server', '--requirepass', { ...password, before: '', after: '' }],
      data: '/data',
      health: ['redis-cli', 'ping'],
    }
    const env = { REDIS_URL: { ...password, before: 'redis://:', after: '@cache:6379/$' } }
    const text = renderCompose({ name: 'shop', services: [service('api', { env })], backing: [cache, db] })
    const { services, volumes } = parse(text)
    assert.deepEqual(Object.keys(services), ['api', 'cache', 'db'])
    assert.deepEqual(services.db.environment, { POSTGRES_USER: 'shop', POSTGRES_PASSWORD: 's$$cret' })
    assert.deepEqual(services.db.healthcheck.test, ['CMD', 'pg_isready', '-U', 'shop'])
    assert.deepEqual(services.db.volumes, ['db-data:/var/lib/postgresql/data'])
    assert.deepEqual(services.cache.command, ['redis-server', '--requirepass', '${CACHE_PASSWORD:-local}'])
    assert.equal(services.api.environment.REDIS_URL, 'redis://:${CACHE_PASSWORD:-local}@cache:6379/$$')
    assert.deepEqual(Object.keys(volumes), ['cache-data', 'db-data'])
    assert.deepEqual(services.api.depends_on, {
      cache: { condition: 'service_healthy' },
      db: { condition: 'service_healthy' },
    })
  })

  it('asks the machine for what the cluster takes from a Secret, and mounts files and memory', () => {
    const text = renderCompose({
      name: 'shop',
      services: [
        service('api', {
          env: { TOKEN: { variable: 'SHOP_TOKEN' } },
          config: { 'app.yaml': 'price: $1\n' },
          volumes: { '/data': { kind: 'ephemeral', sizeLimit: '1048576' }, '/certs': { kind: 'files', name: 'certs' } },
          health: { kind: 'none' },
        }),
      ],
    })
    const { services, configs } = parse(text)
    assert.equal(services.api.environment.TOKEN, '${SHOP_TOKEN:?set SHOP_TOKEN in .env}')
    assert.deepEqual(services.api.tmpfs, ['/tmp', '/data:mode=1777,size=1048576'])
    assert.deepEqual(services.api.volumes, [{ type: 'bind', source: './certs', target: '/certs', read_only: true }])
    assert.deepEqual(services.api.configs, [{ source: 'api-app-yaml', target: '/etc/config/app.yaml' }])
    assert.equal(configs['api-app-yaml'].content, 'price: $$1\n')
    assert.deepEqual(services.api.healthcheck, { disable: true })
  })
})
