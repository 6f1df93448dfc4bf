import { defaultThresholds } from './thresholds.ts'
import type { Threshold } from './thresholds.ts'

/** When a node evicts pods, and how (KubeletConfiguration v1beta1). */
export interface EvictionSettings {
  readonly thresholds: readonly Threshold[]
  /** `evictionPressureTransitionPeriod`. */
  readonly transitionMs: number
  /** `evictionMaxPodGracePeriod`: what pods have to end that go for a soft threshold. */
  readonly mostGraceMs: number
}

export const defaultEvictionSettings: EvictionSettings = {
  thresholds: defaultThresholds,
  transitionMs: 300_000,
  mostGraceMs: 0,
}
