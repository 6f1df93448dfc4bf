import assert from 'node:assert/strict'
import { mkdtempDisposable, stat } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { describe, it } from 'node:test'
import type { PodSpec } from '@fairlead/kube/types/core-v1'

import { mountVolumes } from './volumes.ts'
import type { VolumeSources } from './volumes.ts'

const place = { podIp: '10.0.0.1', hostIp: '10.0.0.2', nodeName: 'node', cpus: 1, memoryBytes: 1 }
const sources = { token: async () => 'token' } as unknown as VolumeSources
const volumes = [{ name: 'v', projected: { sources: [{ serviceAccountToken: { path: 'token' } }] } }]
const isRoot = process.getuid?.() === 0

/** Mode and owner of a token in a pod like `spec`. */
async function tokenOf(spec: Omit<PodSpec, 'volumes'>): Promise<string> {
  await using temporary = await mkdtempDisposable(join(tmpdir(), 'volumes-'))
  const pod = { metadata: { name: 'a', namespace: 'default' }, spec: { ...spec, volumes } }
  const mounted = await mountVolumes(pod, join(temporary.path, 'volumes'), place, sources)
  const { mode, uid, gid } = await stat(join(mounted.get('v') ?? '', 'token'))
  return `${(mode & 0o777).toString(8)} ${uid}:${gid}`
}

describe('the token of a service account', () => {
  const a = { name: 'a' }
  const user = (runAsUser: number): { name: string; securityContext: object } => ({
    ...a,
    securityContext: { runAsUser },
  })
  const cases: readonly { name: string; spec: Omit<PodSpec, 'volumes'>; expected: string }[] = [
    { name: 'is for everybody where nobody says who runs', spec: { containers: [a] }, expected: '644 0:0' },
    {
      name: 'is the user’s of the pod',
      spec: { containers: [a], securityContext: { runAsUser: 7 } },
      expected: '600 7:0',
    },
    { name: 'is root’s where all run as root', spec: { containers: [user(0)] }, expected: '600 0:0' },
    { name: 'is for everybody where users differ', spec: { containers: [user(7), user(8)] }, expected: '644 0:0' },
    { name: 'is for everybody where one says nothing', spec: { containers: [user(7), a] }, expected: '644 0:0' },
    {
      name: 'is the user’s and the group’s',
      spec: { containers: [user(7)], initContainers: [user(7)], securityContext: { fsGroup: 9 } },
      expected: '640 7:9',
    },
  ]
  for (const { name, spec, expected } of cases) {
    it(name, { skip: isRoot ? false : 'only root gives files away' }, async () => {
      assert.equal(await tokenOf(spec), expected)
    })
  }
})
