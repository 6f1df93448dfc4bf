import assert from 'node:assert/strict'
import { mkdtempDisposableSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { describe, it } from 'node:test'

import { defaultEvictionSettings } from '../eviction/settings.ts'
import { defaultImageGcSettings } from '../image-gc/settings.ts'
import { loadKubeletConfig, parseKubeletConfig } from './kubelet-config.ts'
import type { NodeSettings } from './kubelet-config.ts'

const head = { apiVersion: 'kubelet.config.k8s.io/v1beta1', kind: 'KubeletConfiguration' }
const parse = (fields: object): NodeSettings => parseKubeletConfig({ ...head, ...fields }, 'kubelet.yaml')

describe('parseKubeletConfig', () => {
  it('leaves what is not said as it is', () => {
    assert.deepEqual(parse({}), {
      eviction: {
        ...defaultEvictionSettings,
        thresholds: defaultEvictionSettings.thresholds.map((threshold) => ({ ...threshold, reclaim: undefined })),
      },
      imageGc: defaultImageGcSettings,
      logRotation: { maxBytes: undefined, maxFiles: undefined },
      maxPods: undefined,
    })
  })

  it('takes what is said', () => {
    const { eviction, imageGc, logRotation, maxPods } = parse({
      evictionHard: { 'nodefs.available': '10%', 'memory.available': '200Mi', 'imagefs.available': '0%' },
      evictionSoft: { 'memory.available': '300Mi' },
      evictionSoftGracePeriod: { 'memory.available': '1m30s' },
      evictionMaxPodGracePeriod: 20,
      evictionMinimumReclaim: { 'nodefs.available': '1Gi' },
      evictionPressureTransitionPeriod: '30s',
      imageGCHighThresholdPercent: 70,
      imageGCLowThresholdPercent: 60,
      imageMinimumGCAge: '1h0m0s',
      imageMaximumGCAge: '24h',
      containerLogMaxSize: '1Mi',
      containerLogMaxFiles: 3,
      maxPods: 200,
    })
    assert.deepEqual(eviction, {
      thresholds: [
        { signal: 'nodefs.available', least: { share: 0.1 }, reclaim: { quantity: 2 ** 30 } },
        { signal: 'memory.available', least: { quantity: 200 * 2 ** 20 }, reclaim: undefined },
        { signal: 'imagefs.available', least: { quantity: 0 }, reclaim: undefined },
        { signal: 'memory.available', least: { quantity: 300 * 2 ** 20 }, graceMs: 90_000, reclaim: undefined },
      ],
      transitionMs: 30_000,
      mostGraceMs: 20_000,
    })
    assert.deepEqual(imageGc, {
      least: { share: 0.3 },
      wanted: { share: 0.4 },
      minAgeMs: 3_600_000,
      maxAgeMs: 86_400_000,
    })
    assert.deepEqual({ logRotation, maxPods }, { logRotation: { maxBytes: 2 ** 20, maxFiles: 3 }, maxPods: 200 })
  })

  it('keeps default thresholds beside others when told to', () => {
    const { eviction } = parse({ evictionHard: { 'memory.available': '1Gi' }, mergeDefaultEvictionSettings: true })
    assert.deepEqual(
      eviction.thresholds.map(({ signal }) => signal),
      ['memory.available', 'nodefs.available', 'nodefs.inodesFree', 'imagefs.available', 'imagefs.inodesFree'],
    )
  })

  const wrong: readonly { name: string; fields: object; why: RegExp }[] = [
    { name: 'another kind', fields: { kind: 'Pod' }, why: /kind: it is "Pod", not "KubeletConfiguration"/ },
    { name: 'a field nobody follows', fields: { cpuManagerPolicy: 'static' }, why: /cpuManagerPolicy: these nodes/ },
    {
      name: 'a signal there is none of',
      fields: { evictionHard: { 'disk.free': '1Gi' } },
      why: /\["disk.free"\]: it is none of/,
    },
    {
      name: 'a quantity that is none',
      fields: { evictionHard: { 'memory.available': 'much' } },
      why: /a quantity or a percentage/,
    },
    {
      name: 'a percentage beyond all',
      fields: { evictionHard: { 'memory.available': '101%' } },
      why: /a quantity or a percentage/,
    },
    {
      name: 'a soft threshold without grace',
      fields: { evictionSoft: { 'memory.available': '1Gi' } },
      why: /evictionSoftGracePeriod has none/,
    },
    { name: 'a duration that is none', fields: { imageMinimumGCAge: 5 }, why: /a duration such as/ },
    {
      name: 'a low threshold above the high one',
      fields: { imageGCHighThresholdPercent: 50, imageGCLowThresholdPercent: 60 },
      why: /must be less than imageGCHighThresholdPercent \(50\)/,
    },
    {
      name: 'a high threshold below the default low one',
      fields: { imageGCHighThresholdPercent: 50 },
      why: /must be less/,
    },
    { name: 'too many pods', fields: { maxPods: 1e9 }, why: /from 1 to 10000/ },
  ]
  for (const { name, fields, why } of wrong) {
    it(`refuses ${name}`, () =>
      assert.throws(() => parse(fields), { code: 'FAIRLEAD_CLUSTER_KUBELET_CONFIG', message: why }))
  }
})

describe('loadKubeletConfig', () => {
  it('reads a file of YAML, and says when there is none', async () => {
    using dir = mkdtempDisposableSync(join(tmpdir(), 'fairlead-kubelet-'))
    const file = join(dir.path, 'kubelet.yaml')
    await assert.rejects(loadKubeletConfig(file), { code: 'FAIRLEAD_CLUSTER_KUBELET_CONFIG', message: /ENOENT/ })
    writeFileSync(file, 'apiVersion: kubelet.config.k8s.io/v1beta1\nkind: KubeletConfiguration\nmaxPods: 7\n')
    assert.equal((await loadKubeletConfig(file)).maxPods, 7)
  })
})
