import assert from 'node:assert/strict'
import { describe, it } from 'node:test'

import type { PodSpec } from '@fairlead/kube/types/core-v1'

import { deploymentNamed, podNamed, startTestServer } from '../../test-server.ts'
import { violations } from './checks.ts'
import type { Level } from './checks.ts'

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

describe('violations of earlier versions', () => {
  const probe = { livenessProbe: { httpGet: { port: 80, host: 'elsewhere' } } }
  const rows: readonly { name: string; since: number; level?: Level; spec: PodSpec }[] = [
    { name: 'hosts of probes', since: 34, spec: { containers: [{ name: 'c', ...probe }] } },
    { name: 'root by number', since: 23, level: 'restricted', spec: specOf({}, { runAsUser: 0 }) },
    { name: 'escalation', since: 8, level: 'restricted', spec: specOf({}, { allowPrivilegeEscalation: true }) },
    { name: 'capabilities kept', since: 22, level: 'restricted', spec: specOf({}, { capabilities: {} }) },
    { name: 'no seccomp profile', since: 19, level: 'restricted', spec: specOf({}, { seccompProfile: undefined }) },
  ]
  for (const { name, since, level = 'baseline', spec } of rows) {
    it(`minds ${name} since 1.${since}`, () => {
      assert.deepEqual(violations(level, spec, {}, since - 1), [])
      assert.equal(violations(level, spec, {}, since).length, 1)
    })
  }

  it('lets in sysctls since the version that calls them safe', () => {
    const spec = { containers: [], securityContext: { sysctls: [{ name: 'net.ipv4.tcp_rmem', value: '1' }] } }
    assert.deepEqual(violations('baseline', spec, {}, 31), ['forbidden sysctls (net.ipv4.tcp_rmem)'])
    assert.deepEqual(violations('baseline', spec, {}, 32), [])
  })

  it('lets pods with users of their own be root since 1.35', () => {
    const spec = { ...specOf({}, { runAsNonRoot: false, runAsUser: 0 }), hostUsers: false }
    assert.equal(violations('restricted', spec, {}, 34).length, 2)
    assert.deepEqual(violations('restricted', spec, {}), [])
  })
})

describe('PodSecurity', () => {
  it('judges by the version a namespace names, and warns of templates where it only enforces', async () => {
    await using api = await startTestServer()
    const labels = {
      'pod-security.kubernetes.io/enforce': 'restricted',
      'pod-security.kubernetes.io/enforce-version': 'v1.7',
    }
    assert.equal((await api.call('POST', '/api/v1/namespaces', { metadata: { name: 'n', labels } })).status, 201)
    const made = await api.call('POST', '/apis/apps/v1/namespaces/n/deployments', deploymentNamed('d'))
    assert.match(
      String(made.headers['warning']),
      /would violate PodSecurity \\"restricted:v1.7\\": runAsNonRoot != true/,
    )
    const refused = await api.call('POST', '/api/v1/namespaces/n/pods', podNamed('p'))
    assert.match(refused.body.message, /violates PodSecurity "restricted:v1.7": runAsNonRoot != true \([^)]*\)$/)
    labels['pod-security.kubernetes.io/enforce-version'] = 'newest'
    const odd = await api.call('POST', '/api/v1/namespaces', { metadata: { name: 'o', labels } })
    assert.match(odd.body.message, /Invalid value: "newest": must be "latest" or "v1.x"$/)
  })

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
