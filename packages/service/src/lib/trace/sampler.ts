import { settingInvalid } from '../errors.ts'
import type { Environment } from '../lifecycle/resource.ts'

/** Decides whether a trace is recorded; `parentIsSampled` is undefined at its root. Called once per request. */
export type Sampler = (traceId: string, parentIsSampled: boolean | undefined) => boolean

/** Names of OTEL_TRACES_SAMPLER. */
const samplerNames = [
  'always_on',
  'always_off',
  'traceidratio',
  'parentbased_always_on',
  'parentbased_always_off',
  'parentbased_traceidratio',
] as const
export type SamplerName = (typeof samplerNames)[number]

/** `ratio` (0 to 1) counts for the `traceidratio` ones. */
export function createSampler(name: SamplerName, ratio = 1): Sampler {
  const root = createRoot(name.replace('parentbased_', ''), ratio)
  if (!name.startsWith('parentbased_')) return root
  return (traceId, parentIsSampled) => parentIsSampled ?? root(traceId, undefined)
}

/**
 * OTEL_TRACES_SAMPLER, default `parentbased_always_on`, and OTEL_TRACES_SAMPLER_ARG, default 1.
 *
 * @throws {ServiceError} `FAIRLEAD_SERVICE_SETTING`
 */
export function readSampler(env: Environment): Sampler {
  const name = env['OTEL_TRACES_SAMPLER']?.trim() || 'parentbased_always_on'
  const known = samplerNames.find((candidate) => candidate === name)
  if (known === undefined) throw settingInvalid('OTEL_TRACES_SAMPLER', name, `one of ${samplerNames.join(', ')}`)
  const text = env['OTEL_TRACES_SAMPLER_ARG']?.trim() || '1'
  const ratio = Number(text)
  if (known.endsWith('traceidratio') && !(ratio >= 0 && ratio <= 1))
    throw settingInvalid('OTEL_TRACES_SAMPLER_ARG', text, 'a number from 0 to 1')
  return createSampler(known, ratio)
}

function createRoot(name: string, ratio: number): Sampler {
  if (name === 'always_on' || ratio >= 1) return () => name !== 'always_off'
  if (name === 'always_off' || ratio <= 0) return () => false
  // The last 7 bytes are the random ones (Trace Context level 2). Of those, the 52 bits that a number holds exactly. A
  // trace is kept above the threshold, so services with different ratios keep subsets of each other's.
  const threshold = (1 - ratio) * 2 ** 52
  return (traceId) => Number.parseInt(traceId.slice(18, 31), 16) >= threshold
}
