import { parseQuantity } from '@fairlead/kube/types'

import { parseDuration } from '../../cron/duration.ts'
import { kubeletConfigInvalid } from '../../errors.ts'
import type { ClusterError } from '../../errors.ts'

/** Takes fields out of a configuration one by one, each as what it must be, and knows which were left. */
export class FieldReader {
  readonly #fields: Map<string, unknown>
  readonly #file: string

  constructor(value: unknown, file: string) {
    this.#file = file
    if (!isRecord(value)) throw kubeletConfigInvalid(file, 'it is no object')
    this.#fields = new Map(Object.entries(value))
  }

  fail(name: string, why: string): ClusterError {
    return kubeletConfigInvalid(this.#file, `${name}: ${why}`)
  }

  expect(name: string, wanted: string): void {
    const found = this.#take(name)
    if (found !== wanted) throw this.fail(name, `it is ${JSON.stringify(found)}, not "${wanted}"`)
  }

  flag(name: string): boolean | undefined {
    const found = this.#take(name)
    if (found === undefined || typeof found === 'boolean') return found
    throw this.fail(name, 'it must be true or false')
  }

  integer(name: string, least: number, most: number): number | undefined {
    const found = this.#take(name)
    if (found === undefined) return undefined
    if (typeof found === 'number' && Number.isInteger(found) && found >= least && found <= most) return found
    throw this.fail(name, `it must be a whole number from ${least} to ${most}`)
  }

  durationMs(name: string): number | undefined {
    const found = this.#take(name)
    return found === undefined ? undefined : this.toDurationMs(name, found)
  }

  toDurationMs(name: string, value: unknown): number {
    const durationMs = typeof value === 'string' ? parseDuration(value) : undefined
    if (durationMs !== undefined && durationMs >= 0) return durationMs
    throw this.fail(name, 'it must be a duration such as "2m0s"')
  }

  bytes(name: string): number | undefined {
    const found = this.#take(name)
    if (found === undefined) return undefined
    const bytes = typeof found === 'string' ? parseQuantity(found) : undefined
    if (bytes !== undefined && bytes > 0) return bytes
    throw this.fail(name, 'it must be a quantity such as "10Mi"')
  }

  texts(name: string): ReadonlyMap<string, string> | undefined {
    const found = this.#take(name)
    if (found === undefined) return undefined
    if (!isRecord(found)) throw this.fail(name, 'it must be an object')
    return new Map(
      Object.entries(found).map(([key, text]) => {
        if (typeof text === 'string') return [key, text]
        throw this.fail(`${name}["${key}"]`, 'it must be a string')
      }),
    )
  }

  refuseOthers(): void {
    const [other] = this.#fields.keys()
    if (other !== undefined) throw this.fail(other, 'these nodes do not know it')
  }

  #take(name: string): unknown {
    const found = this.#fields.get(name)
    this.#fields.delete(name)
    return found ?? undefined
  }
}

function isRecord(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}
