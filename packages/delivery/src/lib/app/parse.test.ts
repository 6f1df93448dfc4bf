import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import type { App } from './definition.ts'
import { parseApp, type ServiceFacts } from './parse.ts'

const file = '/home/me/shop/fairlead.config.ts'

function parse(input: unknown, facts: Partial<ServiceFacts> = {}, text?: string): App {
  return parseApp(input, {
    file,
    text,
    defaultName: 'shop',
    facts: () => ({ exists: true, usesServiceKit: false, ...facts }),
  })
}

function problemsOf(input: unknown, text?: string): string[] {
  try {
    parse(input, {}, text)
  } catch (error) {
    assert.ok(error instanceof AggregateError)
    return error.errors.map((problem: unknown) => (problem instanceof Error ? problem.message : String(problem)))
  }
  return []
}

describe('parseApp', () => {
  it('needs nothing: one public service in the folder of the app', () => {
    assert.deepEqual(parse({}), {
      name: 'shop',
      namespace: undefined,
      dir: '/home/me/shop',
      file,
      services: [
        {
          name: 'shop',
          dir: '/home/me/shop',
          version: '0.0.0',
          port: 8080,
          public: 8080,
          isPublicPortChosen: false,
          replicas: 1,
          env: {},
          config: {},
          volumes: {},
          resources: { requests: { cpu: '100m', memory: '128Mi' }, limits: { cpu: '1', memory: '256Mi' } },
          health: { kind: 'tcp' },
          terminationGracePeriodSeconds: 30,
        },
      ],
    })
  })

  it('puts a service into the folder of its name, and keeps the order', () => {
    const { services } = parse({ services: { web: {}, api: { dir: 'packages/api' } } })
    assert.deepEqual(
      services.map(({ name, dir }) => [name, dir]),
      [
        ['web', '/home/me/shop/web'],
        ['api', '/home/me/shop/packages/api'],
      ],
    )
  })

  it('asks a service built on the kit for its health over HTTP', () => {
    const [service] = parse({}, { usesServiceKit: true }).services
    assert.deepEqual(service?.health, { kind: 'http', live: '/health/live', ready: '/health/ready' })
  })

  const publicCases = [
    { name: 'is the port for true', value: true, expected: 3000 },
    { name: 'is none for false', value: false, expected: undefined },
    { name: 'is the number given', value: 80, expected: 80 },
  ]
  for (const { name, value, expected } of publicCases) {
    it(`takes a public port that ${name}`, () => {
      assert.equal(parse({ services: { web: { port: 3000, public: value } } }).services[0]?.public, expected)
    })
  }

  const resourceCases = [
    { name: 'raises the default limit to a greater request', requests: { memory: '1Gi' }, expected: ['1Gi', '1Gi'] },
    { name: 'lowers the default request to a smaller limit', limits: { memory: '64Mi' }, expected: ['64Mi', '64Mi'] },
    {
      name: 'keeps what was written',
      requests: { memory: '1Gi' },
      limits: { memory: '2Gi' },
      expected: ['1Gi', '2Gi'],
    },
  ]
  for (const { name, expected, ...resources } of resourceCases) {
    it(name, () => {
      const { requests, limits } = parse({ services: { web: { resources } } }).services[0]?.resources ?? assert.fail()
      assert.deepEqual([requests.memory, limits.memory], expected)
    })
  }

  it('finds every problem at once, with suggestions', () => {
    const problems = problemsOf({
      nmae: 'x',
      services: {
        web: { replicaz: 2, public: '80', env: { '1X': 'a', OK: {} } },
        Bad_Name: {},
        api: {
          resources: { limits: { memory: 'lots', memroy: '1Gi' } },
          health: { live: 'x', ready: '/' },
          volumes: [],
        },
      },
    })
    assert.deepEqual(problems, [
      `${file}: services.web.public is "80", expected true, false or a port between 1 and 65535`,
      `${file}: services.web.env.1X is not a valid name, expected a variable name: letters, digits and "_", not starting with a digit`,
      `${file}: services.web.env.OK is {}, expected a string, number, boolean, { secret, key } or { configMap, key }`,
      `${file}: services.web.replicaz is not a known key, did you mean "replicas"?`,
      `${file}: services.Bad_Name is not a valid name, expected lower-case letters, digits and "-", starting with a letter, at most 52 characters`,
      `${file}: services.api.volumes is [], expected an object`,
      `${file}: services.api.resources.limits.memory is "lots", expected a quantity such as "250m" or "256Mi"`,
      `${file}: services.api.resources.limits.memroy is not a known key, did you mean "memory"?`,
      `${file}: services.api.health is {"live":"x","ready":"/"}, expected "http", "tcp", "none" or { live, ready } with paths`,
      `${file}: nmae is not a known key, did you mean "name"?`,
    ])
  })

  it('takes findings that may be in the image, each with its reason', () => {
    const allowSecrets = [{ rule: 'jwt', path: 'public/demo.json', reason: 'expired in 2019, of the documentation' }]
    assert.deepEqual(parse({ services: { web: { allowSecrets } } }).services[0]?.allowSecrets, allowSecrets)
    assert.deepEqual(problemsOf({ services: { web: { allowSecrets: [{ rule: 'jwt', path: 'x', reason: ' ' }] } } }), [
      `${file}: services.web.allowSecrets.0.reason is " ", expected a text that is not empty`,
    ])
  })

  it('tells the line of a problem', () => {
    const text = 'export default {\n  services: {\n    web: {\n      replicaz: 2,\n    },\n  },\n}\n'
    assert.deepEqual(problemsOf({ services: { web: { replicaz: 2 } } }, text), [
      `${file}:4: services.web.replicaz is not a known key, did you mean "replicas"?`,
    ])
  })

  it('refuses two services at one public port', () => {
    assert.deepEqual(problemsOf({ services: { web: { public: 80 }, api: { public: 80 } } }), [
      `${file}: services.api.public is 80, the public port of "web" too`,
    ])
  })

  it('refuses a request above its limit', () => {
    const resources = { requests: { cpu: '2' }, limits: { cpu: '500m' } }
    assert.deepEqual(problemsOf({ services: { web: { resources } } }), [
      `${file}: services.web.resources.requests.cpu is "2", expected at most the limit "500m"`,
    ])
  })

  it('refuses a service without a folder', () => {
    assert.throws(() => parse({ services: { web: {} } }, { exists: false }), {
      code: 'FAIRLEAD_DELIVERY_APP_INVALID',
      message: `Cannot load app "${file}": 1 problem`,
    })
  })

  it('refuses a definition that is no object', () => {
    assert.deepEqual(problemsOf('shop'), [`${file}: the definition is "shop", expected an object`])
  })
})
