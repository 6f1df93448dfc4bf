import assert from 'node:assert/strict'
import { describe, it } from 'node:test'

import { applyJsonPatch, applyMergePatch, applyStrategicMergePatch } from '../../patch.ts'

const pod = {
  apiVersion: 'v1',
  kind: 'Pod',
  metadata: { name: 'a', labels: { app: 'web' }, annotations: { note: 'x' } },
  spec: { containers: [{ name: 'web', image: 'web:1', env: [{ name: 'A', value: '1' }] }, { name: 'side' }] },
}
const merging = {
  metadata: { labels: { app: 'shop', tier: null }, annotations: null },
  spec: { containers: [{ name: 'web', env: [{ name: 'B', value: '2' }] }], nodeSelector: { zone: 'a' } },
}
const operations = [
  { op: 'add', path: '/metadata/labels/tier', value: 'front' },
  { op: 'copy', from: '/spec/containers/0', path: '/spec/containers/-' },
  { op: 'add', path: '/spec/nodeSelector', value: { zone: 'a' } },
]

// Who applies a patch may change the outcome, and the API server does: it then compares it with what was there.
describe('a patched object', () => {
  const cases = [
    { name: 'merge patch', patch: merging, apply: applyMergePatch },
    { name: 'JSON patch', patch: operations, apply: applyJsonPatch },
    {
      name: 'strategic merge patch',
      patch: merging,
      apply: (document: unknown, patch: unknown) => applyStrategicMergePatch(document, patch, 'io.k8s.api.core.v1.Pod'),
    },
  ]
  for (const { name, patch, apply } of cases) {
    it(`shares nothing with the object before and with the patch (${name})`, () => {
      const given = partsOf([pod, patch])
      const before = JSON.stringify([pod, patch])
      const patched = apply(pod, patch)
      assert.notDeepEqual(patched, pod)
      assert.deepEqual(
        [...partsOf(patched)].filter((part) => given.has(part)),
        [],
      )
      assert.equal(JSON.stringify([pod, patch]), before)
    })
  }
})

function partsOf(value: unknown, found = new Set<object>()): Set<object> {
  if (typeof value !== 'object' || value === null) return found
  found.add(value)
  for (const child of Object.values(value)) partsOf(child, found)
  return found
}
