import assert from 'node:assert/strict'
import { describe, it } from 'node:test'

import { parse } from 'yaml'

import { renderCompose } from './compose.ts'
import type { ComposeService } from './compose.ts'

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

  it('brings the database that an address names, with user, password, data and health check', () => {
    const env = {
      DATABASE_URL: 'postgres://shop:s%24cret@db:5432/orders',
      CACHE: 'redis://cache',
      FAR: 'postgres://db.example.com/x',
    }
    const { services, volumes } = parse(renderCompose({ name: 'shop', services: [service('api', { env })] }))
    assert.deepEqual(Object.keys(services), ['api', 'cache', 'db'])
    assert.deepEqual(services.db.environment, {
      POSTGRES_USER: 'shop',
      POSTGRES_PASSWORD: 's$$cret',
      POSTGRES_DB: 'orders',
    })
    assert.deepEqual(services.db.healthcheck.test, ['CMD', 'pg_isready', '-U', 'shop', '-d', 'orders'])
    assert.deepEqual(services.db.volumes, ['db-data:/var/lib/postgresql/data'])
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
