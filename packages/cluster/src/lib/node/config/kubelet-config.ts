import { readFile } from 'node:fs/promises'
import { parseYaml } from '@fairlead/kube/codec'

import { kubeletConfigInvalid } from '../../errors.ts'
import { defaultEvictionSettings } from '../eviction/settings.ts'
import type { EvictionSettings } from '../eviction/settings.ts'
import { defaultImageGcSettings } from '../image-gc/settings.ts'
import type { ImageGcSettings } from '../image-gc/settings.ts'
import type { RotationOptions } from '../log-rotation.ts'
import { readThresholds } from './read-thresholds.ts'
import { FieldReader } from './field-reader.ts'

/** What a KubeletConfiguration says of the nodes of a cluster. */
export interface NodeSettings {
  readonly eviction: EvictionSettings
  readonly imageGc: ImageGcSettings
  readonly logRotation: RotationOptions
  readonly maxPods?: number | undefined
}

/** Reads a file with a KubeletConfiguration. Throws `FAIRLEAD_CLUSTER_KUBELET_CONFIG`. */
export async function loadKubeletConfig(file: string): Promise<NodeSettings> {
  const text = await readFile(file, 'utf8').catch((cause: NodeJS.ErrnoException) => {
    throw kubeletConfigInvalid(file, `it cannot be read (${cause.code})`, cause)
  })
  return parseKubeletConfig(parseYaml(text, file), file)
}

/**
 * The part of a KubeletConfiguration (kubelet.config.k8s.io/v1beta1) that these nodes follow; a field they do not know is an
 * error, for nobody would notice that it does nothing.
 */
export function parseKubeletConfig(value: unknown, file: string): NodeSettings {
  const reader = new FieldReader(value, file)
  reader.expect('apiVersion', 'kubelet.config.k8s.io/v1beta1')
  reader.expect('kind', 'KubeletConfiguration')
  const settings: NodeSettings = {
    eviction: readEviction(reader),
    imageGc: readImageGc(reader),
    logRotation: {
      maxBytes: reader.bytes('containerLogMaxSize'),
      maxFiles: reader.integer('containerLogMaxFiles', 2, 1000),
    },
    maxPods: reader.integer('maxPods', 1, 10_000),
  }
  reader.refuseOthers()
  return settings
}

function readEviction(reader: FieldReader): EvictionSettings {
  const { transitionMs, mostGraceMs } = defaultEvictionSettings
  return {
    thresholds: readThresholds(reader),
    transitionMs: reader.durationMs('evictionPressureTransitionPeriod') ?? transitionMs,
    mostGraceMs: (reader.integer('evictionMaxPodGracePeriod', 0, 2 ** 31 - 1) ?? mostGraceMs / 1000) * 1000,
  }
}

/** Who names percentages means those, whatever the size of the disk. */
function readImageGc(reader: FieldReader): ImageGcSettings {
  const high = reader.integer('imageGCHighThresholdPercent', 0, 100)
  const low = reader.integer('imageGCLowThresholdPercent', 0, 100)
  if ((low ?? 80) >= (high ?? 85) && (low ?? high) !== undefined) {
    throw reader.fail('imageGCLowThresholdPercent', `it must be less than imageGCHighThresholdPercent (${high ?? 85})`)
  }
  const { least, wanted, minAgeMs, maxAgeMs } = defaultImageGcSettings
  return {
    least: high === undefined ? least : { share: (100 - high) / 100 },
    wanted: low === undefined ? wanted : { share: (100 - low) / 100 },
    minAgeMs: reader.durationMs('imageMinimumGCAge') ?? minAgeMs,
    maxAgeMs: reader.durationMs('imageMaximumGCAge') ?? maxAgeMs,
  }
}
