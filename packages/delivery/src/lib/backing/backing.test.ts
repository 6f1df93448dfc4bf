import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import type { KubeObject } from '@fairlead/kube/types'
import { findKind, validateFields } from '@fairlead/kube/types'
import type { App } from '../app/definition.ts'
import { parseApp } from '../app/parse.ts'
import { createDouble } from '../double.ts'
import { renderBacking } from '../render/backing.ts'
import { renderKubernetes } from '../render/kubernetes.ts'
import { listBackingContainers, listLocalVariables } from './containers.ts'
import { credentialsOf, ensureCredentials, renderCredentials } from './credentials.ts'
import { ENGINES } from './engines.ts'

function parse(input: object): App {
  const file = '/home/me/my-shop/fairlead.config.ts'
  return parseApp(input, { file, defaultName: 'my-shop', facts: () => ({ exists: true, usesServiceKit: false }) })
}

const shop = parse({
  backing: { db: { engine: 'postgres', version: '17-alpine', user: 70 }, cache: 'redis' },
  services: { orders: { uses: ['db', 'cache'], env: { PGHOST: 'elsewhere' } }, web: {} },
})

function find(objects: readonly KubeObject[], kind: string, name: string): KubeObject {
  return (
    objects.find((object) => object.kind === kind && object.metadata.name === name) ?? assert.fail(`${kind} ${name}`)
  )
}

/** The one container of a workload. */
function containerOf(object: KubeObject): Record<string, unknown> {
  return JSON.parse(JSON.stringify(object)).spec.template.spec.containers[0]
}

describe('parseApp', () => {
  it('completes a database by its engine and the name of the app', () => {
    const [db, cache] = shop.backing ?? []
    assert.equal(db?.image, 'docker.io/library/postgres:17-alpine')
    assert.deepEqual([db?.username, db?.database, db?.storage, db?.user], ['my_shop', 'my_shop', '1Gi', 70])
    assert.deepEqual([cache?.image, cache?.username], ['docker.io/library/redis:8', ''])
  })

  it('lets the one service of an app without services use all', () => {
    assert.deepEqual(parse({ backing: { db: 'postgres' } }).services[0]?.uses, ['db'])
  })

  const problems = [
    {
      name: 'an engine it does not know',
      input: { backing: { db: 'oracle' } },
      text: /backing.db is "oracle", expected one of postgres/,
    },
    {
      name: 'a key it does not know',
      input: { backing: { db: { engine: 'redis', sise: 1 } } },
      text: /did you mean "user"|not a known key/,
    },
    {
      name: 'a use of nothing',
      input: { services: { web: { uses: ['db'] } } },
      text: /names "db", expected it under the key "backing"/,
    },
    {
      name: 'a name given twice',
      input: { backing: { web: 'redis' }, services: { web: {} } },
      text: /backing.web has the name of a service/,
    },
    {
      name: 'a request above the limit',
      input: { backing: { db: { engine: 'redis', resources: { requests: { cpu: '2' }, limits: { cpu: '1' } } } } },
      text: /backing.db.resources.requests.cpu is "2", expected at most the limit "1"/,
    },
  ]
  for (const { name, input, text } of problems) {
    it(`refuses ${name}`, () => {
      assert.throws(
        () => parse(input),
        (error) => error instanceof AggregateError && text.test(error.errors.map(String).join()),
      )
    })
  }
})

describe('renderBacking', () => {
  for (const engine of Object.keys(ENGINES)) {
    it(`renders only fields that Kubernetes knows, and no password: ${engine}`, () => {
      const app = parse({ backing: { db: engine } })
      const objects = [...renderBacking(app), renderCredentials(app, app.backing?.[0] ?? assert.fail(), 'x')]
      assert.deepEqual(
        objects.map(({ kind }) => kind),
        ['Service', 'StatefulSet', 'Secret'],
      )
      for (const object of objects) {
        const definition = findKind(object.apiVersion, object.kind)?.definition ?? assert.fail('kind is not known')
        assert.deepEqual(validateFields(definition, object), { unknown: [], wrong: [] })
      }
    })
  }

  it('keeps data on a claim, runs as the account of the image, and asks for readiness', () => {
    const set = JSON.parse(JSON.stringify(find(renderBacking(shop), 'StatefulSet', 'db')))
    assert.equal(set.spec.volumeClaimTemplates[0].spec.resources.requests.storage, '1Gi')
    const { securityContext } = set.spec.template.spec
    assert.deepEqual([securityContext.runAsUser, securityContext.fsGroup, securityContext.runAsNonRoot], [70, 70, true])
    const container = containerOf(set)
    assert.deepEqual(container['volumeMounts'], [
      { name: 'data', mountPath: '/var/lib/postgresql/data' },
      { name: 'tmp', mountPath: '/tmp' },
      { name: 'var-run-postgresql', mountPath: '/var/run/postgresql' },
    ])
    const password = { secretKeyRef: { name: 'db-credentials', key: 'password' } }
    assert.deepEqual(container['env'], [
      { name: 'POSTGRES_USER', value: 'my_shop' },
      { name: 'POSTGRES_PASSWORD', valueFrom: password },
      { name: 'POSTGRES_DB', value: 'my_shop' },
      { name: 'PGDATA', value: '/var/lib/postgresql/data/pgdata' },
    ])
    assert.match(JSON.stringify(container['readinessProbe']), /"pg_isready","-h","127.0.0.1","-U","my_shop"/)
  })

  it('gives a password that an engine takes as argument by a variable', () => {
    const container = containerOf(find(renderBacking(shop), 'StatefulSet', 'cache'))
    assert.deepEqual(container['args'], ['redis-server', '--appendonly', 'yes', '--requirepass', '$(BACKING_PASSWORD)'])
    assert.match(JSON.stringify(container['env']), /^\[\{"name":"BACKING_PASSWORD","valueFrom":\{"secretKeyRef"/)
  })
})

describe('renderKubernetes', () => {
  it('gives a service the variables of what it uses, but for those it sets, and others none', () => {
    const objects = renderKubernetes(shop, { orders: 'orders:1', web: 'web:1' })
    assert.equal(objects[0]?.metadata.name, 'db')
    const names = (name: string): unknown =>
      (containerOf(find(objects, 'Deployment', name))['env'] as { name: string }[]).map((variable) => variable.name)
    const postgres = ['DATABASE_URL', 'PGPORT', 'PGUSER', 'PGPASSWORD', 'PGDATABASE', 'DB_URL']
    assert.deepEqual(names('orders'), ['PORT', ...postgres, 'REDIS_URL', 'CACHE_URL', 'PGHOST'])
    assert.deepEqual(names('web'), ['PORT'])
  })
})

describe('ensureCredentials', () => {
  it('makes a password once, and keeps it', async () => {
    const { client, store } = createDouble()
    const path = '/api/v1/namespaces/default/secrets/db-credentials'
    await ensureCredentials(client, shop)
    const first = store.get(path)
    await ensureCredentials(client, shop)
    assert.equal(store.get(path), first)
    const data = first?.['data'] as Record<string, string>
    const text = (key: string): string => Buffer.from(data[key] ?? '', 'base64').toString()
    assert.equal(first?.['type'], 'servicebinding.io/postgresql')
    assert.match(text('password'), /^[\w-]{32}$/)
    assert.equal(text('uri'), `postgres://my_shop:${text('password')}@db:5432/my_shop`)
    assert.notEqual(text('password'), '')
    const other = store.get('/api/v1/namespaces/default/secrets/cache-credentials')?.['data'] as Record<string, string>
    assert.notEqual(other['password'], data['password'])
  })

  it('takes the Secret of whoever was quicker', async () => {
    const theirs = {
      apiVersion: 'v1',
      kind: 'Secret',
      metadata: { name: 'db-credentials', namespace: 'default' },
      data: { password: 'dGhlaXJz' },
    }
    const double = createDouble({
      before(method, path, { put }) {
        if (method === 'POST' && path.endsWith('/secrets')) put(`${path}/db-credentials`, theirs)
      },
    })
    await ensureCredentials(double.client, { ...shop, backing: shop.backing?.slice(0, 1) ?? [] })
    assert.deepEqual(double.store.get('/api/v1/namespaces/default/secrets/db-credentials')?.['data'], theirs.data)
  })

  it('refuses the Secret of another app', async () => {
    const { client } = createDouble()
    await ensureCredentials(client, { ...shop, name: 'other' })
    await assert.rejects(ensureCredentials(client, shop), {
      code: 'FAIRLEAD_DELIVERY_OWNERSHIP',
      message: /app "other"/,
    })
  })
})

describe('credentialsOf', () => {
  const uris = [
    { engine: 'mysql', uri: 'mysql://my_shop:p%40ss@db:3306/my_shop' },
    { engine: 'redis', uri: 'redis://:p%40ss@db:6379' },
    { engine: 'mongodb', uri: 'mongodb://my_shop:p%40ss@db:27017/my_shop?authSource=admin' },
    { engine: 'rabbitmq', uri: 'amqp://my_shop:p%40ss@db:5672' },
  ]
  for (const { engine, uri } of uris) {
    it(`writes the address of ${engine}`, () => {
      const [backing] = parse({ backing: { db: engine } }).backing ?? []
      assert.equal(credentialsOf(backing ?? assert.fail(), 'p@ss').uri, uri)
    })
  }
})

describe('listBackingContainers', () => {
  it('has what the definition names, with a variable for the password', () => {
    const [cache, db] = listBackingContainers(shop)
    const password = { variable: 'DB_PASSWORD', default: 'local', before: '', after: '' }
    assert.deepEqual(db?.env, { POSTGRES_USER: 'my_shop', POSTGRES_PASSWORD: password, POSTGRES_DB: 'my_shop' })
    assert.deepEqual([db?.image, db?.users], ['docker.io/library/postgres:17-alpine', ['orders']])
    assert.deepEqual(cache?.command?.at(-1), { ...password, variable: 'CACHE_PASSWORD' })
    const [orders] = shop.services
    assert.deepEqual(listLocalVariables(shop, orders ?? assert.fail())['DATABASE_URL'], {
      ...password,
      before: 'postgres://my_shop:',
      after: '@db:5432/my_shop',
    })
  })

  it('has the database that an address names, with its user, password and database', () => {
    const env = {
      DATABASE_URL: 'postgres://shop:s%24cret@db:5432/orders',
      CACHE: 'redis://cache',
      FAR: 'postgres://db.example.com/x',
      WEB: 'http://web',
    }
    const [cache, db, ...others] = listBackingContainers(parse({ services: { api: { env }, web: { env } } }))
    assert.deepEqual(others, [])
    assert.deepEqual([cache?.name, cache?.command], ['cache', undefined])
    assert.deepEqual(db?.env, { POSTGRES_USER: 'shop', POSTGRES_PASSWORD: 's$cret', POSTGRES_DB: 'orders' })
    assert.deepEqual(db?.health, ['pg_isready', '-h', '127.0.0.1', '-U', 'shop', '-d', 'orders'])
    assert.deepEqual(db?.users, ['api', 'web'])
  })

  it('keeps to the definition where an address names it too', () => {
    const env = { URL: 'postgres://a:b@db/c' }
    const found = listBackingContainers(parse({ backing: { db: 'postgres' }, services: { api: { env } } }))
    assert.deepEqual(
      found.map(({ name }) => name),
      ['db'],
    )
  })
})
