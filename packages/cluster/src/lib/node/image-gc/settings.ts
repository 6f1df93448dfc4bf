import type { Amount } from '../eviction/thresholds.ts'

/** When a node removes images it has pulled (KubeletConfiguration v1beta1). */
export interface ImageGcSettings {
  /** With less of its disk free than this images go (`imageGCHighThresholdPercent`). */
  readonly least: Amount
  /** They go until so much is free (`imageGCLowThresholdPercent`). */
  readonly wanted: Amount
  /** Younger ones stay (`imageMinimumGCAge`). */
  readonly minAgeMs: number
  /** Nobody having used them for so long, they go however much is free (`imageMaximumGCAge`); 0: never. */
  readonly maxAgeMs: number
}

const GI = 2 ** 30

/** 85 and 80 percent as with kubelets, but a disk with ten gibibytes free is not short of room, however large it is. */
export const defaultImageGcSettings: ImageGcSettings = {
  least: { share: 0.15, quantity: 10 * GI },
  wanted: { share: 0.2, quantity: 15 * GI },
  minAgeMs: 120_000,
  maxAgeMs: 0,
}
