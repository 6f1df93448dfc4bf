import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { fieldsOf, findDefinition, findKind, findResource, kinds, subresourcesOf, validateFields } from '../../types.ts'

describe('findKind and findResource', () => {
  it('describes a kind as discovery announces it', () => {
    assert.deepEqual(findKind('apps/v1', 'Deployment'), {
      group: 'apps',
      version: 'v1',
      apiVersion: 'apps/v1',
      kind: 'Deployment',
      plural: 'deployments',
      singular: 'deployment',
      shortNames: ['deploy'],
      categories: ['all'],
      namespaced: true,
      definition: 'io.k8s.api.apps.v1.Deployment',
      subresources: ['scale', 'status'],
      verbs: ['create', 'delete', 'deletecollection', 'get', 'list', 'patch', 'update', 'watch'],
    })
  })

  it('finds a resource of the core group', () => {
    assert.equal(findResource('', 'v1', 'namespaces')?.namespaced, false)
    assert.equal(findResource('', 'v1', 'pods'), findKind('v1', 'Pod'))
    assert.equal(findResource('apps', 'v1', 'pods'), undefined)
  })

  it('names the kind a subresource speaks', () => {
    const pod = findKind('v1', 'Pod')
    assert.ok(pod)
    assert.deepEqual(
      subresourcesOf(pod).find((each) => each.name === 'eviction'),
      { name: 'eviction', apiVersion: 'policy/v1', kind: 'Eviction', verbs: ['create'] },
    )
  })
})

describe('fieldsOf', () => {
  it('reads every definition reachable from a kind', () => {
    const seen = new Set<string>()
    const visit = (definition: string): void => {
      if (seen.has(definition)) return
      seen.add(definition)
      for (const field of fieldsOf(definition).values()) if (field.ref !== undefined) visit(field.ref)
    }
    for (const kind of kinds) visit(kind.definition)
    assert.ok(seen.size > 400)
  })

  it('carries merge facts of both patch formats', () => {
    const ports = fieldsOf('io.k8s.api.core.v1.Container').get('ports')
    assert.equal(ports?.mergeKey, 'containerPort')
    assert.deepEqual(ports.mergeStrategies, ['merge'])
    assert.deepEqual(ports.listMapKeys, ['containerPort', 'protocol'])
    assert.equal(fieldsOf('io.k8s.api.core.v1.ContainerPort').get('protocol')?.default, 'TCP')
    assert.deepEqual(fieldsOf('io.k8s.api.apps.v1.DeploymentSpec').get('strategy')?.mergeStrategies, ['retainKeys'])
  })

  it('flattens messages that are inlined in JSON', () => {
    const volume = fieldsOf('io.k8s.api.core.v1.Volume')
    assert.equal(volume.get('configMap')?.ref, 'io.k8s.api.core.v1.ConfigMapVolumeSource')
    assert.equal(fieldsOf('io.k8s.api.core.v1.SecretKeySelector').get('name')?.type, 'string')
  })
})

describe('findDefinition', () => {
  it('knows bodies that are no resource of their own', () => {
    assert.equal(findDefinition('policy/v1', 'Eviction'), 'io.k8s.api.policy.v1.Eviction')
    assert.equal(findDefinition('autoscaling/v1', 'Scale'), 'io.k8s.api.autoscaling.v1.Scale')
    assert.equal(findDefinition('policy/v1', 'DeleteOptions'), 'io.k8s.apimachinery.pkg.apis.meta.v1.DeleteOptions')
    assert.equal(findDefinition('example.com/v1', 'Widget'), undefined)
  })
})

describe('validateFields', () => {
  const definition = 'io.k8s.api.apps.v1.Deployment'

  it('accepts a good object, nulls and the empty values Go clients send', () => {
    const object = {
      apiVersion: 'apps/v1',
      kind: 'Deployment',
      metadata: { name: 'web', creationTimestamp: null, labels: { app: 'web' } },
      spec: { template: { spec: { containers: [{ name: 'web', ports: [], resources: { limits: { cpu: 1 } } }] } } },
      status: {},
    }
    assert.deepEqual(validateFields(definition, object), { unknown: [], wrong: [] })
  })

  it('names unknown fields by path', () => {
    const spec = { replcas: 1, template: { spec: { containers: [{ name: 'a', imag: 'x' }] } } }
    assert.deepEqual(validateFields(definition, { spec }).unknown, [
      'spec.replcas',
      'spec.template.spec.containers[0].imag',
    ])
  })

  it('words a wrong type as the API server does', () => {
    const object = { metadata: { labels: { app: 1 } }, spec: { replicas: '3', template: [] } }
    assert.deepEqual(validateFields(definition, object).wrong, [
      'cannot unmarshal number into Go struct field ObjectMeta.metadata.labels.app of type string',
      'cannot unmarshal string into Go struct field DeploymentSpec.spec.replicas of type int32',
      'cannot unmarshal array into Go struct field DeploymentSpec.spec.template of type PodTemplateSpec',
    ])
  })

  it('words what a strategic merge made as the converter of the API server does', () => {
    const container = { name: 1, image: 1.5, ports: {}, stdin: 'yes', resources: { limits: { cpu: true } } }
    const object = { metadata: { labels: 'x', creationTimestamp: 1 }, spec: { replicas: '3', template: [] } }
    const words = 'conversion'
    assert.deepEqual(validateFields(definition, object, { words }).wrong, [
      'cannot restore map from string',
      'cannot unmarshal number into Go struct field ObjectMeta.metadata.creationTimestamp of type Time',
      'unrecognized type: int32',
      'cannot restore struct from: slice',
    ])
    assert.deepEqual(validateFields('io.k8s.api.core.v1.Container', container, { words }).wrong, [
      'cannot convert int64 to string',
      'unrecognized type: string',
      'cannot restore slice from map',
      'unrecognized type: bool',
      'cannot unmarshal bool into Go struct field ResourceRequirements.resources.limits.cpu of type Quantity',
    ])
  })
})
