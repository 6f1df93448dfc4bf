import assert from 'node:assert/strict'
import { describe, it } from 'node:test'

import { readBytes } from '@fairlead/kube'
import { decodeProtobuf, encodeProtobuf } from '@fairlead/kube/codec'
import type { KubeObject } from '@fairlead/kube/types'
import type { Pod } from '@fairlead/kube/types/core-v1'

import { configure, startWebhook } from '../admission/webhooks/test-webhook.ts'
import { podNamed, startTestServer } from '../test-server.ts'
import type { TestServer } from '../test-server.ts'
import { createWidgets, widgetDefinition, widgets } from './test-definitions.ts'

const greatest = '9223372036854775807'
const odd = '9007199254740993'

interface Raw {
  readonly status: number
  readonly warning: string | undefined
  readonly text: string
}

/** One request, its answer as text: reading it would round what is looked for. */
async function send(
  api: TestServer,
  method: string,
  path: string,
  body?: string,
  type = 'json',
  accept = 'application/json',
): Promise<Raw> {
  const headers = { 'content-type': `application/${type}`, accept }
  const answer = await api.transport.send({ method, path, body, headers })
  const text = Buffer.from(await readBytes(answer.body)).toString('utf8')
  return { status: answer.status, warning: answer.headers['warning'], text }
}

/** Widgets with a `serial`, a set of `ports` and whatever else they have in `free`. */
async function startWidgets(): Promise<TestServer> {
  const api = await startTestServer()
  const definition = widgetDefinition()
  const [version] = definition.spec.versions
  version.additionalPrinterColumns = [{ name: 'Serial', type: 'integer', jsonPath: '.spec.serial' }]
  version.schema.openAPIV3Schema.properties.spec.properties = {
    ...version.schema.openAPIV3Schema.properties.spec.properties,
    serial: { type: 'integer', format: 'int64', minimum: -9.2e18, multipleOf: 1 },
    ports: { type: 'array', items: { type: 'integer' }, 'x-kubernetes-list-type': 'set' },
    twice: { type: 'integer', 'x-kubernetes-validations': [{ rule: 'self - 1 == 9007199254740992', message: 'no' }] },
    small: { type: 'integer', format: 'int32' },
    free: { type: 'object', 'x-kubernetes-preserve-unknown-fields': true },
  }
  await createWidgets(api, definition)
  return api
}

const widget = (name: string, spec: string): string =>
  `{"apiVersion":"example.com/v1","kind":"Widget","metadata":{"name":"${name}"},"spec":{"size":1,${spec}}}`

describe('integers of custom resources', () => {
  it('are kept exactly whichever way they are written', async () => {
    await using api = await startWidgets()
    const created = await send(api, 'POST', widgets, widget('a', `"serial":${greatest},"free":{"x":[${odd},-${odd}]}`))
    assert.equal(created.status, 201, created.text)
    assert.equal(created.warning, undefined)
    const shown = new RegExp(`"serial":${greatest},"free":\\{"x":\\[${odd},-${odd}\\]`)
    assert.match(created.text, shown)
    for (const [type, body] of [
      ['merge-patch+json', '{"metadata":{"labels":{"a":"b"}}}'],
      [
        'json-patch+json',
        `[{"op":"test","path":"/spec/serial","value":${greatest}},{"op":"copy","from":"/spec/free","path":"/spec/free/y"}]`,
      ],
      ['merge-patch+json', `{"spec":{"free":{"z":${odd}}}}`],
    ] as const) {
      const patched = await send(api, 'PATCH', `${widgets}/a`, body, type)
      assert.equal(patched.status, 200, patched.text)
      assert.match(patched.text, shown)
    }
    const { text } = await send(api, 'GET', `${widgets}/a`)
    assert.match(text, new RegExp(`"z":${odd}`))
    const replaced = await send(api, 'PUT', `${widgets}/a`, text.replace(greatest, '9223372036854775806'))
    assert.equal(replaced.status, 200, replaced.text)
    assert.match(replaced.text, /"serial":9223372036854775806/)
  })

  it('are applied, in JSON and in YAML, and elements of sets are told from each other', async () => {
    await using api = await startWidgets()
    const path = `${widgets}/a?fieldManager=m`
    const ports = `"ports":[${odd},9007199254740992,9007199254740994]`
    const applied = await send(api, 'PATCH', path, widget('a', `"serial":${greatest},${ports}`), 'apply-patch+yaml')
    assert.equal(applied.status, 201, applied.text)
    assert.match(applied.text, new RegExp(`"v:${odd}":\\{\\}`))
    const yaml = `apiVersion: example.com/v1\nkind: Widget\nmetadata:\n  name: a\nspec:\n  size: 1\n  serial: ${odd}\n  ports: [${odd}]\n`
    const again = await send(api, 'PATCH', path, yaml, 'apply-patch+yaml')
    assert.match(again.text, new RegExp(`"serial":${odd}`))
    assert.match(again.text, new RegExp(`"ports":\\[${odd}\\]`))
    const other = await send(
      api,
      'PATCH',
      `${widgets}/a?fieldManager=other`,
      widget('a', `"serial":9007199254740992`),
      'apply-patch+yaml',
    )
    assert.equal(other.status, 409, other.text)
    const twins = await send(api, 'POST', widgets, widget('b', `"ports":[${odd},${odd}]`))
    assert.match(twins.text, new RegExp(`spec.ports\\[1\\]: Duplicate value: ${odd}`))
  })

  it('are shown as YAML, in lists, tables and watches', async () => {
    await using api = await startWidgets()
    await send(api, 'POST', widgets, widget('a', `"serial":${greatest}`))
    const yaml = await send(api, 'GET', `${widgets}/a`, undefined, 'json', 'application/yaml')
    assert.match(yaml.text, new RegExp(`serial: ${greatest}\n`))
    for (const path of [`${widgets}?pretty=true`, `${widgets}/a?pretty=true`]) {
      assert.match((await send(api, 'GET', path)).text, new RegExp(`"serial": ${greatest}`))
    }
    const table = 'application/json;as=Table;v=v1;g=meta.k8s.io'
    for (const path of [widgets, `${widgets}/a`, `${widgets}?includeObject=Object`]) {
      const { text } = await send(api, 'GET', path, undefined, 'json', table)
      assert.match(text, new RegExp(`"cells":\\["a",${greatest}\\]`))
    }
    const inYaml = await send(
      api,
      'POST',
      widgets,
      yaml.text.replace(/ {2}(name): a/, '  $1: b').replace(/ {2}(resourceVersion|uid).*\n/g, ''),
      'yaml',
    )
    assert.match(inYaml.text, new RegExp(`"serial":${greatest}`))
  })

  it('are judged by their schema and by rules', async () => {
    await using api = await startWidgets()
    for (const [spec, why] of [
      [`"serial":${odd}`, undefined],
      [`"twice":${odd}`, undefined],
      [`"twice":9007199254740995`, /spec\.twice: Invalid value: "?integer"?: no/],
      [`"serial":-9200000000000000001`, /spec\.serial in body should be greater than or equal to/],
      [`"small":${odd}`, /spec\.small in body must be of type int32: "9007199254740993"/],
      [`"size":"x","serial":${odd}`, /spec\.size/],
    ] as const) {
      const { status, text } = await send(api, 'POST', `${widgets}?dryRun=All`, widget('a', spec))
      assert.equal(status, why === undefined ? 201 : 422, text)
      if (why !== undefined) assert.match(JSON.parse(text).message, why)
    }
  })

  it('beyond 64 bits are doubles, as Go reads them', async () => {
    await using api = await startWidgets()
    const { status, text } = await send(api, 'POST', widgets, widget('a', `"free":{"x":92233720368547758070}`))
    assert.equal(status, 201)
    assert.match(text, /"x":92233720368547760000/)
  })

  it('pass through webhooks and policies, which may set them', async () => {
    await using api = await startWidgets()
    const operations = `[{"op":"add","path":"/spec/free","value":{"x":${odd}}}]`
    const patch = Buffer.from(operations).toString('base64')
    await using hook = await startWebhook(() => ({ allowed: true, patchType: 'JSONPatch', patch }))
    const resource = { apiGroups: ['example.com'], apiVersions: ['v1'], operations: ['CREATE'], resources: ['widgets'] }
    await configure(api, hook.configuration('Mutating', 'hook', { rules: [resource] }))
    const expression = '[JSONPatch{op: "add", path: "/spec/twice", value: object.spec.serial - 9214364837600034814}]'
    await configure(api, {
      apiVersion: 'admissionregistration.k8s.io/v1',
      kind: 'MutatingAdmissionPolicy',
      metadata: { name: 'lower' },
      spec: {
        reinvocationPolicy: 'Never',
        matchConstraints: { resourceRules: [resource] },
        mutations: [{ patchType: 'JSONPatch', jsonPatch: { expression } }],
      },
    })
    const binding = { metadata: { name: 'lower' }, spec: { policyName: 'lower' } }
    const bindings = '/apis/admissionregistration.k8s.io/v1/mutatingadmissionpolicybindings'
    assert.equal((await api.call('POST', bindings, binding)).status, 201)
    const { status, text } = await send(api, 'POST', widgets, widget('a', `"serial":${greatest}`))
    assert.equal(status, 201, text)
    for (const field of [`"serial":${greatest}`, `"free":{"x":${odd}}`, `"twice":${odd}`])
      assert.ok(text.includes(field), text)
    assert.equal(hook.seen.length, 1)
  })

  it('are given as defaults and judged by lists of values, whatever else bounds them', async () => {
    await using api = await startTestServer()
    const definition = widgetDefinition()
    const { spec } = definition.spec.versions[0].schema.openAPIV3Schema.properties
    spec.properties.serial = { type: 'integer', default: 'DEFAULT', maximum: 'GREATEST', enum: ['DEFAULT', 'GREATEST'] }
    spec.properties.note = { type: 'string', maxLength: 'GREATEST' }
    spec.properties.size['x-kubernetes-validations'] = [{ rule: 'self < 9223372036854775807' }]
    const text = JSON.stringify(definition).replaceAll('"DEFAULT"', odd).replaceAll('"GREATEST"', greatest)
    const made = await send(api, 'POST', '/apis/apiextensions.k8s.io/v1/customresourcedefinitions', text)
    assert.equal(made.status, 201, made.text)
    assert.match(made.text, new RegExp(`"default":${odd}`))
    assert.match(made.text, new RegExp(`"enum":\\[${odd},${greatest}\\]`))
    const patch = '{"metadata":{"labels":{"a":"b"}}}'
    const url = '/apis/apiextensions.k8s.io/v1/customresourcedefinitions/widgets.example.com'
    assert.match((await send(api, 'PATCH', url, patch, 'merge-patch+json')).text, new RegExp(`"default":${odd}`))
    assert.match((await send(api, 'POST', widgets, widget('a', '"note":"x"'))).text, new RegExp(`"serial":${odd}`))
    const refused = await send(api, 'POST', widgets, widget('b', `"serial":9007199254740992`))
    assert.match(refused.text, /Unsupported value: 9007199254740992: supported values: \\"9007199254740993\\"/)
    assert.match((await send(api, 'GET', '/openapi/v3/apis/example.com/v1')).text, new RegExp(`"default":${odd}`))
  })
})

describe('integers of built-in kinds', () => {
  it('are kept exactly, and told exactly in protobuf', async () => {
    await using api = await startTestServer()
    const pod = podNamed('p', {})
    const text = JSON.stringify(pod).replace(
      '"spec":{',
      `"spec":{"terminationGracePeriodSeconds":${greatest},"nodeName":"n",`,
    )
    const pods = '/api/v1/namespaces/default/pods'
    const made = await send(api, 'POST', pods, text)
    assert.match(made.text, new RegExp(`"terminationGracePeriodSeconds":${greatest}`))
    const headers = { accept: 'application/vnd.kubernetes.protobuf' }
    const answer = await api.transport.send({ method: 'GET', path: `${pods}/p`, headers })
    const decoded = decodeProtobuf(await readBytes(answer.body)) as KubeObject & Pod
    assert.equal(decoded.spec?.terminationGracePeriodSeconds, 2n ** 63n - 1n)
    const named: KubeObject = { ...decoded, metadata: { name: 'q' } }
    const body = encodeProtobuf(named)
    const sent = { 'content-type': 'application/vnd.kubernetes.protobuf', accept: 'application/json' }
    const again = await api.transport.send({ method: 'POST', path: pods, body, headers: sent })
    const copied = Buffer.from(await readBytes(again.body)).toString('utf8')
    assert.match(copied, new RegExp(`"terminationGracePeriodSeconds":${greatest}`))
    const strategic = await send(
      api,
      'PATCH',
      `${pods}/p`,
      '{"metadata":{"labels":{"a":"b"}}}',
      'strategic-merge-patch+json',
    )
    assert.match(strategic.text, new RegExp(`"terminationGracePeriodSeconds":${greatest}`))
    const read = await api.client.resource('v1/Pod').get('p')
    read.metadata = { ...read.metadata, labels: { by: 'doubles' } }
    await api.client.resource('v1/Pod').update(read)
    assert.match((await send(api, 'GET', `${pods}/p`)).text, new RegExp(`"terminationGracePeriodSeconds":${greatest}`))
    const gone = await send(api, 'DELETE', `${pods}/p`)
    assert.match(gone.text, /"deletionGracePeriodSeconds":100000000000/)
    const beyond = await send(api, 'POST', pods, text.replace(greatest, '9223372036854775808'))
    assert.equal(beyond.status, 400)
    assert.match(
      beyond.text,
      /cannot unmarshal number 922\d+ into Go struct field PodSpec\.spec\.terminationGracePeriodSeconds of type int64/,
    )
  })

  it('are told in answers that are not kept', async () => {
    await using api = await startTestServer()
    const path = '/apis/authentication.k8s.io/v1/tokenreviews'
    const { status, text } = await send(
      api,
      'POST',
      path,
      `{"metadata":{"generation":${greatest}},"spec":{"token":"x"}}`,
    )
    assert.equal(status, 201, text)
    assert.match(text, new RegExp(`"generation":${greatest}`))
  })
})
