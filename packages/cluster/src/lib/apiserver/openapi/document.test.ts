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
      ['namespace', 'name', 'dryRun', 'fieldManager', 'fieldValidation', 'force'],
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

  it('describes lists, subresources and what every group-version knows', () => {
    const { paths, components } = read('apis/apps/v1')
    const list = paths['/apis/apps/v1/deployments']?.['get']
    assert.deepEqual(list?.['x-kubernetes-group-version-kind'], { group: 'apps', kind: 'Deployment', version: 'v1' })
    assert.ok(list.parameters.some(({ name }) => name === 'resourceVersionMatch'))
    const scale = paths['/apis/apps/v1/namespaces/{namespace}/deployments/{name}/scale']?.['patch']
    assert.deepEqual(scale?.['x-kubernetes-group-version-kind'], { group: 'autoscaling', kind: 'Scale', version: 'v1' })
    assert.ok(components.schemas['io.k8s.api.apps.v1.DeploymentList'])
    assert.ok(components.schemas['io.k8s.apimachinery.pkg.apis.meta.v1.DeleteOptions'])
  })

  it('gives every operation an id of its own', () => {
    const ids = Object.keys(openApi.index().paths).flatMap((path) =>
      Object.values(read(path).paths).flatMap((operations) =>
        Object.values(operations).map((each) => (each as unknown as { operationId: string }).operationId),
      ),
    )
    assert.ok(ids.includes('listCoreV1NamespacedPod'))
    assert.ok(ids.includes('listCoreV1PodForAllNamespaces'))
    assert.ok(ids.includes('deleteAppsV1CollectionNamespacedDeployment'))
    assert.ok(ids.includes('patchRbacAuthorizationV1ClusterRole'))
    assert.equal(new Set(ids).size, ids.length)
  })

  describe('in version 2', () => {
    const text = openApi.version2('json').bytes.toString()
    const document = JSON.parse(text) as { definitions: Record<string, Record<string, unknown>>; paths: object }

    it('holds every definition that is referred to', () => {
      for (const [, name = ''] of text.matchAll(/"#\/definitions\/([^"]+)"/g))
        assert.ok(document.definitions[name], name)
      assert.ok(!text.includes('#/components'))
    })

    it('says what merging needs: kinds, list types, keys, what is replaced as a whole', () => {
      const pod = document.definitions['io.k8s.api.core.v1.Pod']
      assert.deepEqual(pod?.['x-kubernetes-group-version-kind'], [{ group: '', kind: 'Pod', version: 'v1' }])
      const container = document.definitions['io.k8s.api.core.v1.Container'] as { properties: Record<string, object> }
      assert.deepEqual(container.properties['env'], {
        type: 'array',
        items: { $ref: '#/definitions/io.k8s.api.core.v1.EnvVar' },
        'x-kubernetes-list-type': 'map',
        'x-kubernetes-list-map-keys': ['name'],
        'x-kubernetes-patch-merge-key': 'name',
        'x-kubernetes-patch-strategy': 'merge',
      })
      const selector = document.definitions['io.k8s.apimachinery.pkg.apis.meta.v1.LabelSelector']
      assert.equal(selector?.['x-kubernetes-map-type'], 'atomic')
    })

    it('is smaller as protobuf, and the same bytes as long as nothing changes', () => {
      const protobuf = openApi.version2('protobuf')
      assert.ok(protobuf.bytes.length < text.length)
      assert.ok(protobuf.bytes.includes('io.k8s.api.core.v1.Pod'))
      assert.equal(openApi.version2('protobuf').hash, protobuf.hash)
    })
  })
})
