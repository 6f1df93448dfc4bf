import { canonicalQuantity, parseQuantity } from '@fairlead/kube/types'
import type { Container, PodSpec } from '@fairlead/kube/types/core-v1'

/** Quantities by the name of what they measure, as numbers: cores, bytes, pieces. */
export type Amounts = Readonly<Record<string, number>>

export function amountOf(quantity: string | number | undefined): number {
  return quantity === undefined ? 0 : (parseQuantity(quantity) ?? 0)
}

export function amountsOf(quantities: Readonly<Record<string, string | number>> = {}): Amounts {
  return Object.fromEntries(Object.entries(quantities).map(([name, quantity]) => [name, amountOf(quantity)]))
}

/** Sums are of thousandths, as quantities of processors are; rounding keeps them from drifting. */
export function add(a: Amounts, b: Amounts, sign = 1): Record<string, number> {
  const sum: Record<string, number> = { ...a }
  for (const [name, amount] of Object.entries(b)) sum[name] = Math.round(((sum[name] ?? 0) + sign * amount) * 1e6) / 1e6
  return sum
}

function largest(a: Amounts, b: Amounts): Record<string, number> {
  const most: Record<string, number> = { ...a }
  for (const [name, amount] of Object.entries(b)) most[name] = Math.max(most[name] ?? 0, amount)
  return most
}

/** A quantity as it would be written: binary where it counts bytes and comes out even. */
export function renderAmount(name: string, amount: number): string {
  const isBytes = /(^|\.)(memory|storage|ephemeral-storage)$|hugepages-/.test(name)
  if (isBytes && Number.isInteger(amount) && amount % 1024 === 0) {
    return canonicalQuantity(`${amount / 1024}Ki`) ?? String(amount)
  }
  if (Number.isInteger(amount)) return canonicalQuantity(amount) ?? String(amount)
  return canonicalQuantity(`${Math.ceil(amount * 1000)}m`) ?? String(amount)
}

/**
 * What a pod needs of each resource while it starts and while it runs (`PodRequests`, `PodLimits`): containers together,
 * or one starting container with the sidecars before it, whichever is more; and the overhead of its runtime.
 */
export function podAmounts(spec: PodSpec, which: 'requests' | 'limits'): Amounts {
  const of = ({ resources }: Container): Amounts => amountsOf(resources?.[which])
  let running: Amounts = {}
  for (const container of spec.containers ?? []) running = add(running, of(container))
  let sidecars: Amounts = {}
  let starting: Amounts = {}
  for (const container of spec.initContainers ?? []) {
    const own = of(container)
    const isSidecar = container.restartPolicy === 'Always'
    if (isSidecar) {
      running = add(running, own)
      sidecars = add(sidecars, own)
    }
    starting = largest(starting, isSidecar ? sidecars : add(sidecars, own))
  }
  const most = largest(running, starting)
  // What is asked for the pod as a whole is what counts.
  Object.assign(most, amountsOf(spec.resources?.[which]))
  const overhead = amountsOf(spec.overhead)
  if (which === 'requests') return add(most, overhead)
  // Overhead adds to limits only where there is one.
  return add(most, Object.fromEntries(Object.entries(overhead).filter(([name]) => (most[name] ?? 0) > 0)))
}
