import assert from 'node:assert/strict'
import { describe, it } from 'node:test'

import { fieldsOf } from '../types/fields.ts'
import { isZeroAbsent } from './zero.ts'

const schema = 'io.k8s.apiextensions-apiserver.pkg.apis.apiextensions.v1.JSONSchemaProps'

const cases: readonly (readonly [definition: string, field: string, value: unknown, isAbsent: boolean])[] = [
  [schema, 'x-kubernetes-embedded-resource', false, true],
  [schema, 'nullable', false, true],
  [schema, 'x-kubernetes-preserve-unknown-fields', false, false],
  [schema, 'maxLength', 0, false],
  ['io.k8s.api.core.v1.Probe', 'timeoutSeconds', 0, true],
  ['io.k8s.api.core.v1.ClientIPConfig', 'timeoutSeconds', 0, false],
  ['io.k8s.api.apps.v1.DeploymentSpec', 'replicas', 0, false],
  ['io.k8s.api.apps.v1.DeploymentStatus', 'replicas', 0, true],
  ['io.k8s.api.core.v1.PodSpec', 'priority', 0, false],
  ['io.k8s.api.core.v1.EndpointPort', 'name', '', true],
  ['io.k8s.api.discovery.v1.EndpointPort', 'name', '', false],
  ['io.k8s.api.core.v1.PodSpec', 'runtimeClassName', '', false],
  ['io.k8s.api.core.v1.PodSpec', 'nodeName', '', true],
  ['io.k8s.api.core.v1.VolumeMount', 'readOnly', true, false],
  ['io.k8s.api.core.v1.CSIVolumeSource', 'readOnly', false, false],
  ['io.k8s.api.core.v1.ISCSIVolumeSource', 'readOnly', false, true],
  ['io.k8s.api.core.v1.PodSpec', 'nodeSelector', {}, true],
  ['io.k8s.api.core.v1.PodSpec', 'nodeSelector', { zone: '' }, false],
  ['io.k8s.api.core.v1.PodSpec', 'imagePullSecrets', [], true],
  ['io.k8s.api.core.v1.PodSpec', 'containers', [], false],
  ['io.k8s.api.core.v1.PodSpec', 'securityContext', {}, false],
  ['io.k8s.api.apps.v1.StatefulSetSpec', 'serviceName', '', false],
  ['io.k8s.api.rbac.v1.ClusterRole', 'rules', [], false],
  ['io.k8s.api.core.v1.Event', 'reportingComponent', '', false],
]

describe('isZeroAbsent', () => {
  for (const [definition, name, value, isAbsent] of cases) {
    const type = definition.slice(definition.lastIndexOf('.') + 1)
    it(`${isAbsent ? 'leaves out' : 'keeps'} ${JSON.stringify(value)} of ${type}.${name}`, () => {
      const field = fieldsOf(definition).get(name)
      assert.ok(field)
      assert.equal(isZeroAbsent(definition, field, value), isAbsent)
    })
  }
})
