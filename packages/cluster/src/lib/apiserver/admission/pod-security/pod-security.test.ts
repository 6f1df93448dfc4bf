import assert from 'node:assert/strict'
import { describe, it } from 'node:test'

import type { PodSpec } from '@fairlead/kube/types/core-v1'

import { deploymentNamed, podNamed, startTestServer } from '../../test-server.ts'
import { violations } from './checks.ts'

const good = {
  allowPrivilegeEscalation: false,
  runAsNonRoot: true,
  capabilities: { drop: ['ALL'] },
  seccompProfile: { type: 'RuntimeDefault' },
}

function specOf(more: Partial<PodSpec>, securityContext: object = {}): PodSpec {
  return { containers: [{ name: 'c', image: 'i', securityContext: { ...good, ...securityContext } }], ...more }
}

describe('violations', () => {
  it('finds nothing in a restricted pod, and everything is allowed to privileged ones', () => {
    assert.deepEqual(violations('restricted', specOf({}), {}), [])
    assert.deepEqual(violations('privileged', specOf({ hostNetwork: true }), {}), [])
  })

  const cases: { level?: 'baseline' | 'restricted'; spec: PodSpec; expected: string }[] = [
    {
      level: 'baseline',
      spec: specOf({ hostNetwork: true, hostPID: true }),
      expected: 'host namespaces (hostNetwork=true, hostPID=true)',
    },
    {
      level: 'baseline',
      spec: specOf({ volumes: [{ name: 'v', hostPath: { path: '/' } }] }),
      expected: 'hostPath volumes (volume "v")',
    },
    {
      level: 'baseline',
      spec: specOf({}, { privileged: true }),
      expected: 'privileged (container "c" must not set securityContext.privileged=true)',
    },
    {
      level: 'baseline',
      spec: specOf({}, { capabilities: { add: ['NET_ADMIN', 'CHOWN'] } }),
      expected:
        'non-default capabilities (container "c" must not include "NET_ADMIN" in securityContext.capabilities.add)',
    },
    {
      level: 'baseline',
      spec: specOf({ containers: [{ name: 'c', image: 'i', ports: [{ containerPort: 1, hostPort: 80 }] }] }),
      expected: 'hostPort (container "c" uses hostPort 80)',
    },
    {
      level: 'baseline',
      spec: specOf({ securityContext: { sysctls: [{ name: 'kernel.msgmax', value: '1' }] } }),
      expected: 'forbidden sysctls (kernel.msgmax)',
    },
    {
      level: 'baseline',
      spec: specOf({}, { seccompProfile: { type: 'Unconfined' } }),
      expected: 'seccompProfile (container "c" must not set securityContext.seccompProfile.type to "Unconfined")',
    },
    {
      spec: specOf({}, { allowPrivilegeEscalation: undefined }),
      expected:
        'allowPrivilegeEscalation != false (container "c" must set securityContext.allowPrivilegeEscalation=false)',
    },
    {
      spec: specOf({}, { capabilities: {} }),
      expected: 'unrestricted capabilities (container "c" must set securityContext.capabilities.drop=["ALL"])',
    },
    {
      spec: specOf({ volumes: [{ name: 'v', nfs: { server: 's', path: '/' } }] }),
      expected: 'restricted volume types (volume "v" uses restricted volume type "nfs")',
    },
    {
      spec: specOf({}, { runAsNonRoot: undefined }),
      expected: 'runAsNonRoot != true (pod or container "c" must set securityContext.runAsNonRoot=true)',
    },
    { spec: specOf({ securityContext: { runAsUser: 0 } }), expected: 'runAsUser=0 (pod must not set runAsUser=0)' },
    {
      spec: specOf({}, { seccompProfile: undefined }),
      expected:
        'seccompProfile (pod or container "c" must set securityContext.seccompProfile.type to "RuntimeDefault" or "Localhost")',
    },
  ]
  for (const { level = 'restricted', spec, expected } of cases) {
    it(`finds ${expected.split(' (')[0]} against ${level}`, () =>
      assert.deepEqual(violations(level, spec, {}), [expected]))
  }
})

describe('PodSecurity', () => {
  it('refuses, warns, and looks at templates', async () => {
    await using api = await startTestServer()
    const labels = { 'pod-security.kubernetes.io/enforce': 'baseline', 'pod-security.kubernetes.io/warn': 'restricted' }
    assert.equal((await api.call('POST', '/api/v1/namespaces', { metadata: { name: 'n', labels } })).status, 201)
    const pods = '/api/v1/namespaces/n/pods'
    const spec = { hostNetwork: true, containers: [{ name: 'c', image: 'i' }] }
    const refused = await api.call('POST', pods, podNamed('p', { spec }))
    const message = 'pods "p" is forbidden: violates PodSecurity "baseline:latest": host namespaces (hostNetwork=true)'
    assert.deepEqual([refused.status, refused.body.message, refused.headers['warning']], [403, message, undefined])
    const warned = await api.call('POST', pods, podNamed('q'))
    assert.equal(warned.status, 201)
    assert.match(
      String(warned.headers['warning']),
      /would violate PodSecurity \\"restricted:latest\\": allowPrivilegeEscalation != false/,
    )
    const made = await api.call('POST', '/apis/apps/v1/namespaces/n/deployments', deploymentNamed('d'))
    assert.match(String(made.headers['warning']), /would violate PodSecurity/)
    const odd = { metadata: { name: 'o', labels: { 'pod-security.kubernetes.io/enforce': 'strict' } } }
    assert.equal((await api.call('POST', '/api/v1/namespaces', odd)).status, 422)
  })
})
