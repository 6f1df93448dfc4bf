import assert from 'node:assert/strict'
import { describe, it } from 'node:test'

import { Catalogue } from '../catalogue.ts'
import { createOpenApi } from './document.ts'

interface Document {
  paths: Record<string, Record<string, { parameters: { name: string }[]; 'x-kubernetes-group-version-kind': object }>>
  components: { schemas: Record<string, { properties: Record<string, unknown>; required?: string[] }> }
}

describe('createOpenApi', () => {
  const openApi = createOpenApi(new Catalogue())

  function read(path: string): Document {
    return JSON.parse(openApi.document(path)?.bytes.toString() ?? '') as Document
  }

  it('lists a document per group-version under a hash of its bytes', () => {
    const { paths } = openApi.index()
    assert.match(paths['apis/apps/v1']?.serverRelativeURL ?? '', /^\/openapi\/v3\/apis\/apps\/v1\?hash=[0-9A-F]{32}$/)
    assert.equal(Object.keys(paths)[0]?.startsWith('api'), true)
    assert.ok('api/v1' in paths)
    assert.equal(openApi.document('apis/example.com/v1'), undefined)
  })

  it('says that patches can be validated and tried', () => {
    const patch = read('apis/apps/v1').paths['/apis/apps/v1/namespaces/{namespace}/deployments/{name}']?.['patch']
    assert.deepEqual(
      patch?.parameters.map(({ name }) => name),
      ['dryRun', 'fieldManager', 'fieldValidation', 'force'],
    )
    assert.deepEqual(patch?.['x-kubernetes-group-version-kind'], { group: 'apps', kind: 'Deployment', version: 'v1' })
  })

  it('describes fields with types, references and merge keys', () => {
    const { schemas } = read('api/v1').components
    const container = schemas['io.k8s.api.core.v1.Container']
    assert.deepEqual(container?.required, ['name'])
    assert.deepEqual(container.properties['ports'], {
      type: 'array',
      items: { allOf: [{ $ref: '#/components/schemas/io.k8s.api.core.v1.ContainerPort' }] },
      'x-kubernetes-list-type': 'map',
      'x-kubernetes-list-map-keys': ['containerPort', 'protocol'],
      'x-kubernetes-patch-merge-key': 'containerPort',
      'x-kubernetes-patch-strategy': 'merge',
    })
  })

  it('holds a schema for every reference', () => {
    for (const path of Object.keys(openApi.index().paths)) {
      const text = openApi.document(path)?.bytes.toString() ?? ''
      const { schemas } = read(path).components
      for (const [, name = ''] of text.matchAll(/"#\/components\/schemas\/([^"]+)"/g)) assert.ok(schemas[name], name)
    }
  })
})
