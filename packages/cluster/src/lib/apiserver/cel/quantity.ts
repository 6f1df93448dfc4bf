import { canonicalQuantity } from '@fairlead/kube/types'

import { CelError, Opaque } from './values.ts'
import type { Value } from './values.ts'

const nano = 1_000_000_000n
const most = 2n ** 63n

/** A Kubernetes quantity, counted in billionths. */
export class Quantity extends Opaque {
  readonly typeName = 'kubernetes.Quantity'
  readonly nanos: bigint

  constructor(nanos: bigint) {
    super()
    this.nanos = nanos
  }

  static from(value: Value | undefined): Quantity {
    if (value instanceof Quantity) return value
    if (typeof value === 'bigint') return new Quantity(value * nano)
    throw new CelError('no such overload')
  }

  get sign(): bigint {
    return this.nanos > 0n ? 1n : this.nanos < 0n ? -1n : 0n
  }

  get isInteger(): boolean {
    return this.nanos % nano === 0n && this.nanos / nano < most && this.nanos / nano >= -most
  }

  asInteger(): bigint {
    if (!this.isInteger) throw new CelError('cannot convert value to integer')
    return this.nanos / nano
  }

  asFloat(): number {
    return Number(this.nanos) / 1e9
  }

  add(other: Quantity): Quantity {
    return new Quantity(this.nanos + other.nanos)
  }

  subtract(other: Quantity): Quantity {
    return new Quantity(this.nanos - other.nanos)
  }

  compare(other: Quantity): number {
    return this.nanos < other.nanos ? -1 : this.nanos > other.nanos ? 1 : 0
  }

  equals(other: Opaque): boolean {
    return other instanceof Quantity && other.nanos === this.nanos
  }
}

const decimals = ['n', 'u', 'm', '', 'k', 'M', 'G', 'T', 'P', 'E']
const binaries = ['', 'Ki', 'Mi', 'Gi', 'Ti', 'Pi', 'Ei']

export function parseQuantity(text: string): Quantity {
  const canonical = canonicalQuantity(text)
  const match = /^(-?)(\d+)([a-zA-Z]*)(?:e(-?\d+))?$/.exec(
    canonical?.replace(/e(-?\d+)$/, '*$1').replace('*', 'e') ?? '',
  )
  const exponent = /^(-?)(\d+)e(-?\d+)$/.exec(canonical ?? '')
  if (match === null && exponent === null) {
    const rule = "quantities must match the regular expression '^([+-]?[0-9.]+)([eEinumkKMGTP]*[-+]?[0-9]*)$'"
    throw new CelError(`quantity parse error during conversion from string: ${rule}`)
  }
  const [, sign, digits = '0', suffix = ''] = exponent ?? match ?? []
  const nanos = scale(BigInt(digits), suffix, exponent !== null)
  return new Quantity(sign === '-' ? -nanos : nanos)
}

function scale(digits: bigint, suffix: string, isExponent: boolean): bigint {
  if (isExponent) return shift(digits, 9 + Number(suffix))
  const binary = binaries.indexOf(suffix)
  if (binary > 0) return digits * 1024n ** BigInt(binary) * nano
  return shift(digits, 9 + (decimals.indexOf(suffix) - 3) * 3)
}

function shift(digits: bigint, places: number): bigint {
  return places >= 0 ? digits * 10n ** BigInt(places) : digits / 10n ** BigInt(-places)
}
