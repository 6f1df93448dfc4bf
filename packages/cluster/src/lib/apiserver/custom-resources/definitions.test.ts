import assert from 'node:assert/strict'
import { createHash } from 'node:crypto'
import { describe, it } from 'node:test'

import { readWatch, startTestServer } from '../test-server.ts'
import type { TestServer } from '../test-server.ts'
import { createWidgets, replaceDefinition, until, widgetDefinition, widgetSchema, widgets } from './test-definitions.ts'

const definitions = '/apis/apiextensions.k8s.io/v1/customresourcedefinitions'

async function conditionOf(api: TestServer, name: string, type: string): Promise<{ status: string; reason: string }> {
  const { body } = await api.call('GET', `${definitions}/${name}`)
  return body.status.conditions.find((each: { type: string }) => each.type === type)
}

describe('a definition', () => {
  it('is served at once, in discovery and OpenAPI, and says so', async () => {
    await using api = await startTestServer()
    const created = await api.call('POST', definitions, widgetDefinition())
    assert.equal(created.status, 201, JSON.stringify(created.body))
    assert.deepEqual(created.body.metadata.finalizers, ['customresourcecleanup.apiextensions.k8s.io'])
    assert.deepEqual(created.body.status.storedVersions, ['v1'])
    assert.equal(created.body.spec.names.singular, 'widget')
    assert.equal(created.body.spec.names.listKind, 'WidgetList')

    const list = await api.call('GET', '/apis/example.com/v1')
    assert.deepEqual(
      list.body.resources.map((each: { name: string }) => each.name),
      ['widgets', 'widgets/status', 'widgets/scale'],
    )
    assert.deepEqual(list.body.resources[0].shortNames, ['wd'])
    assert.deepEqual(list.body.resources[0].categories, ['all'])
    const accept = 'application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList'
    const { body } = await api.call('GET', '/apis', undefined, { accept })
    assert.equal(body.items.at(-1).metadata.name, 'example.com')
    const openApi = await api.call('GET', '/openapi/v3')
    assert.ok('apis/example.com/v1' in openApi.body.paths)
    const { body: document } = await api.call('GET', openApi.body.paths['apis/example.com/v1'].serverRelativeURL)
    assert.equal(document.components.schemas['com.example.v1.Widget'].properties.spec.properties.size.type, 'integer')

    await until(async () => (await conditionOf(api, 'widgets.example.com', 'Established'))?.status === 'True')
    assert.equal((await conditionOf(api, 'widgets.example.com', 'NamesAccepted')).reason, 'NoConflicts')
  })

  it('does not get names another one of its group has until they are free', async () => {
    await using api = await startTestServer()
    await createWidgets(api)
    const second = widgetDefinition({ names: { plural: 'gadgets', kind: 'Gadget', shortNames: ['wd'] } })
    await api.call('POST', definitions, second)
    await until(async () => (await conditionOf(api, 'gadgets.example.com', 'NamesAccepted'))?.status === 'False')
    const condition = await conditionOf(api, 'gadgets.example.com', 'NamesAccepted')
    assert.deepEqual([condition.reason], ['ShortNamesConflict'])
    assert.equal((await conditionOf(api, 'gadgets.example.com', 'Established')).status, 'False')
    assert.equal((await api.call('GET', '/apis/example.com/v1/gadgets')).status, 404)

    await api.call('DELETE', `${definitions}/widgets.example.com`)
    await until(async () => (await conditionOf(api, 'gadgets.example.com', 'Established'))?.status === 'True')
    assert.equal((await api.call('GET', '/apis/example.com/v1/gadgets')).status, 200)
  })

  it('takes its objects with it, waiting for their finalizers', async () => {
    await using api = await startTestServer()
    await createWidgets(api)
    await api.call('POST', widgets, { metadata: { name: 'a' }, spec: { size: 1 } })
    await api.call('POST', widgets, { metadata: { name: 'b', finalizers: ['example.com/hold'] }, spec: { size: 1 } })
    await api.call('DELETE', `${definitions}/widgets.example.com`)
    await until(async () => (await api.call('GET', `${widgets}/a`)).status === 404)
    const late = await api.call('POST', widgets, { metadata: { name: 'c' }, spec: { size: 1 } })
    assert.equal(late.status, 405)
    assert.equal((await conditionOf(api, 'widgets.example.com', 'Terminating')).status, 'True')

    await api.call('PATCH', `${widgets}/b`, { metadata: { finalizers: null } })
    await until(async () => (await api.call('GET', `${definitions}/widgets.example.com`)).status === 404)
    assert.equal((await api.call('GET', widgets)).status, 404)
    assert.equal((await api.call('GET', '/apis/example.com')).status, 404)
  })

  it('ends watches when it changes, so that clients see its objects as they are now', async () => {
    await using api = await startTestServer()
    await createWidgets(api)
    await api.call('POST', widgets, { metadata: { name: 'a' }, spec: { size: 1 } })
    const { promise: seen, resolve } = Promise.withResolvers<void>()
    const watching = readWatch(api.transport, `${widgets}?watch=1`, () => {
      resolve()
      return false
    })
    await seen
    const changed = widgetDefinition()
    changed.spec.versions[0].schema.openAPIV3Schema.properties.spec.properties.added = { type: 'string', default: 'x' }
    await replaceDefinition(api, changed)
    assert.equal((await watching).length, 1)
    assert.equal((await api.call('GET', `${widgets}/a`)).body.spec.added, 'x')
  })

  it('is there again after a restart', async () => {
    await using api = await startTestServer()
    await createWidgets(api)
    await api.call('POST', widgets, { metadata: { name: 'a' }, spec: { size: 1 } })
    await using second = await startTestServer({ store: api.store })
    assert.equal((await second.call('GET', `${widgets}/a`)).body.spec.size, 1)
  })
})

describe('an object of a definition', () => {
  it('is pruned, defaulted and validated by its schema', async () => {
    await using api = await startTestServer()
    await createWidgets(api)
    const good = await api.call('POST', widgets, {
      apiVersion: 'example.com/v1',
      kind: 'Widget',
      metadata: { name: 'a' },
      spec: { size: 3, unknown: 1 },
      status: { ready: true },
    })
    assert.equal(good.status, 201, JSON.stringify(good.body))
    assert.deepEqual(good.body.spec, { size: 3, colour: 'red' })
    assert.equal(good.body.status, undefined)
    assert.equal(good.body.metadata.generation, 1)
    assert.match(good.headers['warning'] ?? '', /unknown field \\"spec.unknown\\"/)

    const strict = await api.call('POST', `${widgets}?fieldValidation=Strict`, {
      metadata: { name: 'b' },
      spec: { size: 3, unknown: 1 },
    })
    assert.equal(strict.status, 400)
    assert.match(strict.body.message, /strict decoding error: unknown field "spec.unknown"/)

    const worse = await api.call('POST', widgets, {
      metadata: { name: 'b', labels: { '#no': 'a' } },
      spec: { size: 1, colour: 'blue' },
    })
    assert.deepEqual(
      worse.body.details.causes.map(({ field }: { field: string }) => field),
      ['metadata.labels', 'spec.colour'],
    )
    const bad = await api.call('POST', widgets, { metadata: { name: 'b' }, spec: { size: -1, colour: 'blue' } })
    assert.equal(bad.status, 422)
    assert.equal(
      bad.body.message,
      'Widget.example.com "b" is invalid: [spec.size: Invalid value: -1: spec.size in body should be greater than or equal to 0, spec.colour: Unsupported value: "blue": supported values: "red", "green", .spec.size: Invalid value: -1: should be a non-negative integer]',
    )
  })

  it('has the status that is the default until somebody writes one', async () => {
    await using api = await startTestServer()
    const definition = widgetDefinition()
    const [{ schema }] = definition.spec.versions
    schema.openAPIV3Schema.properties.status = {
      type: 'object',
      default: { observedGeneration: -1 },
      properties: { observedGeneration: { type: 'integer' } },
    }
    await createWidgets(api, definition)
    const created = await api.call('POST', widgets, { metadata: { name: 'a' }, spec: { size: 1 }, status: {} })
    assert.deepEqual(created.body.status, { observedGeneration: -1 })
    const status = { observedGeneration: 1 }
    assert.equal((await api.call('PATCH', `${widgets}/a/status`, { status })).status, 200)
    const updated = await api.call('PATCH', `${widgets}/a`, { spec: { size: 2 }, status: { observedGeneration: 5 } })
    assert.deepEqual(updated.body.status, status)
  })

  it('keeps status and spec apart and counts generations', async () => {
    await using api = await startTestServer()
    await createWidgets(api)
    await api.call('POST', widgets, { metadata: { name: 'a' }, spec: { size: 1 } })
    const status = await api.call('PATCH', `${widgets}/a/status`, { spec: { size: 9 }, status: { ready: true } })
    assert.deepEqual(
      [status.body.spec.size, status.body.status, status.body.metadata.generation],
      [1, { ready: true }, 1],
    )
    const spec = await api.call('PATCH', `${widgets}/a`, { spec: { size: 2 }, status: { ready: false } })
    assert.deepEqual([spec.body.spec.size, spec.body.status, spec.body.metadata.generation], [2, { ready: true }, 2])
    const wrong = await api.call('PATCH', `${widgets}/a/status`, { status: { ready: 'yes' } })
    assert.match(wrong.body.message, /status\.ready: Invalid value: "string": ready in body must be of type boolean/)
  })

  it('is scaled where its definition says', async () => {
    await using api = await startTestServer()
    await createWidgets(api)
    await api.call('POST', widgets, { metadata: { name: 'a' }, spec: { size: 1 } })
    const scale = await api.call('GET', `${widgets}/a/scale`)
    assert.deepEqual([scale.body.kind, scale.body.spec, scale.body.status], ['Scale', { replicas: 1 }, { replicas: 0 }])
    const scaled = await api.call('PATCH', `${widgets}/a/scale`, { spec: { replicas: 5 } })
    assert.equal(scaled.body.spec.replicas, 5)
    const { body } = await api.call('GET', `${widgets}/a`)
    assert.deepEqual([body.spec.size, body.metadata.generation], [5, 2])
  })

  it('may keep what was wrong before, and nothing else', async () => {
    await using api = await startTestServer()
    await createWidgets(api)
    await api.call('POST', widgets, { metadata: { name: 'a' }, spec: { size: 1, note: 'far too long' } })
    const stricter = widgetDefinition()
    stricter.spec.versions[0].schema.openAPIV3Schema.properties.spec.properties.note.maxLength = 5
    await replaceDefinition(api, stricter)
    const kept = await api.call('PATCH', `${widgets}/a`, { spec: { size: 2 } })
    assert.equal(kept.status, 200, kept.body.message)
    const changed = await api.call('PATCH', `${widgets}/a`, { spec: { note: 'still too long' } })
    assert.match(changed.body.message, /spec\.note: Too long: may not be more than 5 bytes/)
  })

  it('is shown in the columns of its definition', async () => {
    await using api = await startTestServer()
    await createWidgets(api)
    await api.call('POST', widgets, { metadata: { name: 'a' }, spec: { size: 7 } })
    const { body } = await api.call('GET', widgets, undefined, {
      accept: 'application/json;as=Table;v=v1;g=meta.k8s.io',
    })
    assert.deepEqual(
      body.columnDefinitions.map((each: { name: string; type: string; priority: number }) => [
        each.name,
        each.type,
        each.priority,
      ]),
      [
        ['Name', 'string', 0],
        ['Size', 'integer', 0],
        ['Colour', 'string', 1],
        ['Age', 'date', 0],
      ],
    )
    assert.deepEqual(body.rows[0].cells.slice(0, 3), ['a', 7, 'red'])
  })

  it('is found by its selectable fields', async () => {
    await using api = await startTestServer()
    await createWidgets(api)
    await api.call('POST', widgets, { metadata: { name: 'a' }, spec: { size: 1 } })
    await api.call('POST', widgets, { metadata: { name: 'b' }, spec: { size: 1, colour: 'green' } })
    const { body } = await api.call('GET', `${widgets}?fieldSelector=spec.colour%3Dgreen`)
    assert.deepEqual(
      body.items.map((each: { metadata: { name: string } }) => each.metadata.name),
      ['b'],
    )
    assert.equal((await api.call('GET', `${widgets}?fieldSelector=spec.size%3D1`)).status, 400)
  })

  it('takes no strategic merge patch', async () => {
    await using api = await startTestServer()
    await createWidgets(api)
    await api.call('POST', widgets, { metadata: { name: 'a' }, spec: { size: 1 } })
    const type = { 'content-type': 'application/strategic-merge-patch+json' }
    assert.equal((await api.call('PATCH', `${widgets}/a`, {}, type)).status, 415)
    const json = { 'content-type': 'application/json-patch+json' }
    const body = JSON.stringify([{ op: 'replace', path: '/spec/size', value: 4 }])
    assert.equal((await api.call('PATCH', `${widgets}/a`, body, json)).body.spec.size, 4)
  })

  it('is served in every version of its definition', async () => {
    await using api = await startTestServer()
    const definition = widgetDefinition()
    definition.spec.versions.push({
      ...definition.spec.versions[0],
      name: 'v2',
      storage: false,
      schema: widgetSchema(),
    })
    await createWidgets(api, definition)
    await api.call('POST', widgets, { metadata: { name: 'a' }, spec: { size: 1 } })
    const second = widgets.replace('/v1/', '/v2/')
    const { body } = await api.call('GET', `${second}/a`)
    assert.equal(body.apiVersion, 'example.com/v2')
    const patched = await api.call('PATCH', `${second}/a`, { spec: { size: 2 } })
    assert.deepEqual([patched.body.apiVersion, patched.body.spec.size], ['example.com/v2', 2])
    assert.deepEqual((await api.call('GET', `${widgets}/a`)).body.apiVersion, 'example.com/v1')
    const list = await api.call('GET', second)
    assert.deepEqual([list.body.kind, list.body.items[0].apiVersion], ['WidgetList', 'example.com/v2'])
    const hashes = await Promise.all(
      ['v1', 'v2'].map(async (version) => {
        const { resources } = (await api.call('GET', `/apis/example.com/${version}`)).body
        return resources[0].storageVersionHash as string
      }),
    )
    const expected = createHash('sha256').update('example.com/v1/Widget').digest().subarray(0, 8).toString('base64')
    assert.deepEqual(hashes, [expected, expected])
    assert.equal(
      JSON.parse(api.store.get('example.com/widgets', 'default/a')?.bytes.toString() ?? '').apiVersion,
      'example.com/v1',
    )
  })
})

describe('validation rules of a definition', () => {
  function withRules(rules: unknown[], spec: Record<string, unknown> = {}): ReturnType<typeof widgetDefinition> {
    const definition = widgetDefinition()
    Object.assign(definition.spec.versions[0].schema.openAPIV3Schema.properties.spec, {
      'x-kubernetes-validations': rules,
      ...spec,
    })
    return definition
  }

  it('are evaluated with their message, place and reason', async () => {
    await using api = await startTestServer()
    const rules = [
      { rule: 'self.size < 10', message: 'too large', fieldPath: '.size', reason: 'FieldValueForbidden' },
      {
        rule: 'self.colour != "green" || self.size > 1',
        messageExpression: '"green needs 2: " + self.colour',
      },
      { rule: '!has(self.note) || self.note.size() < 100' },
    ]
    await createWidgets(api, withRules(rules))
    const bad = await api.call('POST', widgets, { metadata: { name: 'a' }, spec: { size: 11 } })
    assert.equal(bad.body.message, 'Widget.example.com "a" is invalid: spec.size: Forbidden: too large')
    const green = await api.call('POST', widgets, { metadata: { name: 'a' }, spec: { size: 1, colour: 'green' } })
    assert.equal(
      green.body.message,
      'Widget.example.com "a" is invalid: spec: Invalid value: "object": green needs 2: green',
    )
    const good = await api.call('POST', widgets, { metadata: { name: 'a' }, spec: { size: 1 } })
    assert.equal(good.status, 201, good.body.message)
  })

  it('compare with the version before, where there is one', async () => {
    await using api = await startTestServer()
    const rules = [
      { rule: 'self.size >= oldSelf.size', message: 'cannot shrink' },
      { rule: 'oldSelf.hasValue() || self.size < 5', message: 'must begin small', optionalOldSelf: true },
    ]
    await createWidgets(api, withRules(rules))
    const large = await api.call('POST', widgets, { metadata: { name: 'a' }, spec: { size: 7 } })
    assert.match(large.body.message, /must begin small/)
    await api.call('POST', widgets, { metadata: { name: 'a' }, spec: { size: 3 } })
    assert.equal((await api.call('PATCH', `${widgets}/a`, { spec: { size: 7 } })).status, 200)
    const smaller = await api.call('PATCH', `${widgets}/a`, { spec: { size: 6 } })
    assert.match(smaller.body.message, /spec: Invalid value: "object": cannot shrink/)
  })

  const refused: readonly (readonly [string, unknown[], RegExp])[] = [
    ['a rule that is no CEL', [{ rule: 'self.size >' }], /compilation failed: ERROR: <input>:1:12: Syntax error/],
    ['a rule about a field that is not there', [{ rule: 'self.sise > 1' }], /undefined field 'sise'/],
    ['a rule of the wrong type', [{ rule: 'self.size' }], /cel expression must evaluate to a bool/],
    [
      'optionalOldSelf without oldSelf',
      [{ rule: 'self.size > 1', optionalOldSelf: true }],
      /may not be set if oldSelf is not used/,
    ],
    [
      'a path to nowhere',
      [{ rule: 'true', fieldPath: '.nowhere' }],
      /fieldPath: Invalid value: ".nowhere": must be a valid path/,
    ],
    ['an unknown reason', [{ rule: 'true', reason: 'Because' }], /reason: Unsupported value: "Because"/],
  ]
  for (const [title, rules, message] of refused) {
    it(`are refused with ${title}`, async () => {
      await using api = await startTestServer()
      const { status, body } = await api.call('POST', definitions, withRules(rules))
      assert.equal(status, 422)
      assert.match(body.message, message)
    })
  }

  it('are refused when they could cost too much, or compare what cannot be found again', async () => {
    await using api = await startTestServer()
    const items = { type: 'array', items: { type: 'string' } }
    const costly = withRules([{ rule: 'self.names.all(a, self.names.all(b, a.contains(b)))' }])
    costly.spec.versions[0].schema.openAPIV3Schema.properties.spec.properties.names = items
    const refusedCost = await api.call('POST', definitions, costly)
    assert.match(refusedCost.body.message, /estimated rule cost exceeds budget by factor of more than 100x/)
    const lost = withRules([])
    lost.spec.versions[0].schema.openAPIV3Schema.properties.spec.properties.names = {
      ...items,
      items: { type: 'string', maxLength: 5, 'x-kubernetes-validations': [{ rule: 'self == oldSelf' }] },
    }
    const refusedList = await api.call('POST', definitions, lost)
    assert.match(refusedList.body.message, /oldSelf cannot be used on the uncorrelatable portion of the schema within/)
  })
})

describe('a definition that is wrong', () => {
  // oxlint-disable-next-line typescript/no-explicit-any -- changes a definition in any place
  const rows: readonly (readonly [string, (definition: any) => void, RegExp])[] = [
    [
      'name',
      (d) => (d.metadata.name = 'x.example.com'),
      /metadata\.name: Invalid value: "x\.example\.com": must be spec\.names\.plural\+"\."\+spec\.group/,
    ],
    [
      'group',
      (d) => (d.spec.group = 'example'),
      /spec\.group: Invalid value: "example": should be a domain with at least one dot/,
    ],
    [
      'scope',
      (d) => (d.spec.scope = 'World'),
      /spec\.scope: Unsupported value: "World": supported values: "Cluster", "Namespaced"/,
    ],
    [
      'storage version',
      (d) => (d.spec.versions[0].storage = false),
      /must have exactly one version marked as storage version/,
    ],
    ['two versions of one name', (d) => d.spec.versions.push(d.spec.versions[0]), /must contain unique version names/],
    ['no schema', (d) => delete d.spec.versions[0].schema, /openAPIV3Schema: Required value/],
    [
      'no type',
      (d) => delete d.spec.versions[0].schema.openAPIV3Schema.properties.spec.type,
      /properties\[spec\]\.type: Required value: must not be empty for specified object fields/,
    ],
    [
      'a wrong default',
      (d) => (specOf(d).properties.size.default = 'x'),
      /properties\[size\]\.default: Invalid value: "string"/,
    ],
    ['an unknown type', (d) => (specOf(d).properties.size.type = 'int'), /Unsupported value: "int": supported values/],
    [
      'a bad pattern',
      (d) => (specOf(d).properties.note.pattern = '('),
      /must be a valid regular expression, but isn't/,
    ],
    [
      'uniqueItems',
      (d) => (specOf(d).properties.note = { type: 'array', items: { type: 'string' }, uniqueItems: true }),
      /uniqueItems cannot be set to true/,
    ],
    [
      'a type inside allOf',
      (d) => (specOf(d).allOf = [{ properties: { size: { type: 'string' } } }]),
      /allOf\[0\]\.properties\[size\]\.type: Forbidden: must be empty to be structural/,
    ],
    [
      'a field only inside anyOf',
      (d) => {
        delete d.spec.versions[0].subresources
        const properties = { spec: { properties: { other: { minLength: 1 } } } }
        d.spec.versions[0].schema.openAPIV3Schema.anyOf = [{ properties }]
      },
      /properties\[other\]: Required value: because it is defined in .*anyOf\[0\]\.properties\[spec\]\.properties\[other\]/,
    ],
    [
      'a map list without keys',
      (d) =>
        (specOf(d).properties.note = { type: 'array', 'x-kubernetes-list-type': 'map', items: { type: 'object' } }),
      /must not be empty if x-kubernetes-list-type is map/,
    ],
    [
      'a selectable object',
      (d) => (d.spec.versions[0].selectableFields = [{ jsonPath: '.spec' }]),
      /must point to a field of type string, boolean or integer/,
    ],
    [
      'a scale path',
      (d) => (d.spec.versions[0].subresources.scale.specReplicasPath = '.size'),
      /should be a json path under \.spec/,
    ],
    [
      'a column type',
      (d) => (d.spec.versions[0].additionalPrinterColumns[0].type = 'int'),
      /must be one of boolean,date,integer,number,string/,
    ],
    [
      'a conversion',
      (d) => (d.spec.conversion = { strategy: 'Webhook' }),
      /webhookClientConfig: Required value: required when strategy is set to Webhook/,
    ],
    [
      'a protected group',
      (d) => {
        d.spec.group = 'x.k8s.io'
        d.metadata.name = 'widgets.x.k8s.io'
      },
      /protected groups must have approval annotation/,
    ],
  ]
  // oxlint-disable-next-line typescript/no-explicit-any -- as above
  function specOf(definition: any): any {
    return definition.spec.versions[0].schema.openAPIV3Schema.properties.spec
  }
  for (const [title, change, message] of rows) {
    it(`is refused for its ${title}`, async () => {
      await using api = await startTestServer()
      const definition = widgetDefinition()
      change(definition)
      const { status, body } = await api.call('POST', definitions, definition)
      assert.equal(status, 422)
      assert.match(body.message, message)
    })
  }
})
