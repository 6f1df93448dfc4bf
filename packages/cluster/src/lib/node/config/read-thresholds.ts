import { parseQuantity } from '@fairlead/kube/types'

import { defaultThresholds } from '../eviction/thresholds.ts'
import type { Amount, Signal, Threshold } from '../eviction/thresholds.ts'
import type { FieldReader } from './field-reader.ts'

const signals: readonly Signal[] = [
  'memory.available',
  'nodefs.available',
  'nodefs.inodesFree',
  'imagefs.available',
  'imagefs.inodesFree',
]

/**
 * Hard thresholds in place of all the default ones, unless these are to stay where nothing else is said; then the soft ones,
 * each with its grace.
 */
export function readThresholds(reader: FieldReader): readonly Threshold[] {
  const hard = readAmounts(reader, 'evictionHard')
  const soft = readAmounts(reader, 'evictionSoft') ?? new Map<Signal, Amount>()
  const graces = readGraces(reader)
  const reclaims = readAmounts(reader, 'evictionMinimumReclaim') ?? new Map<Signal, Amount>()
  const keepsDefaults = reader.flag('mergeDefaultEvictionSettings') ?? false
  for (const signal of soft.keys())
    if (!graces.has(signal)) throw reader.fail(`evictionSoft["${signal}"]`, 'evictionSoftGracePeriod has none for it')
  const own = [...(hard ?? [])].map(([signal, least]): Threshold => ({ signal, least }))
  const kept = defaultThresholds.filter(({ signal }) => hard === undefined || (keepsDefaults && !hard.has(signal)))
  const all = [
    ...own,
    ...kept,
    ...[...soft].map(([signal, least]): Threshold => ({ signal, least, graceMs: graces.get(signal) })),
  ]
  return all.map((threshold) => ({ ...threshold, reclaim: reclaims.get(threshold.signal) }))
}

function readGraces(reader: FieldReader): ReadonlyMap<Signal, number> {
  const name = 'evictionSoftGracePeriod'
  return new Map(
    [...(reader.texts(name) ?? [])].map(([key, text]) => {
      const field = `${name}["${key}"]`
      return [toSignal(reader, field, key), reader.toDurationMs(field, text)]
    }),
  )
}

function readAmounts(reader: FieldReader, name: string): ReadonlyMap<Signal, Amount> | undefined {
  const texts = reader.texts(name)
  if (texts === undefined) return undefined
  return new Map(
    [...texts].map(([key, text]) => {
      const field = `${name}["${key}"]`
      return [toSignal(reader, field, key), toAmount(reader, field, text)]
    }),
  )
}

function toSignal(reader: FieldReader, field: string, key: string): Signal {
  const signal = signals.find((known) => known === key)
  if (signal === undefined) throw reader.fail(field, `it is none of ${signals.join(', ')}`)
  return signal
}

/** A quantity, or a percentage of what there is; 0 % and 100 % turn a threshold off, as with kubelets. */
function toAmount(reader: FieldReader, field: string, text: string): Amount {
  const percent = /^(\d+(?:\.\d+)?)%$/.exec(text)?.[1]
  if (text === '0%' || text === '100%') return { quantity: 0 }
  if (percent !== undefined && Number(percent) < 100) return { share: Number(percent) / 100 }
  const quantity = percent === undefined ? parseQuantity(text) : undefined
  if (quantity === undefined || quantity < 0) throw reader.fail(field, 'it must be a quantity or a percentage')
  return { quantity }
}
