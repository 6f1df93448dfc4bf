import { PerformanceObserver } from 'node:perf_hooks'
import { getHeapSpaceStatistics, setFlagsFromString } from 'node:v8'

/** Both halves of it; V8's own limit is several times as much on a machine with much memory. */
export const mostYoungBytes: number = 32 << 20

/**
 * Keeps V8's young generation as small as it is until disposed of, as what a start leaves behind would make it grow: 25 MB of an idle
 * cluster. Then it grows with the work there is, up to {@link mostYoungBytes}, or twice that where one turn of the event loop makes it grow
 * twice: what is larger makes the work no faster, is seldom given back, and keeps garbage for longer, buffers above all.
 */
export function keepYoungGenerationSmall(): Disposable {
  setGrowth(1)
  return { [Symbol.dispose]: growToMost }
}

/** V8 takes room back when there is nothing to do, and then it is to grow anew: small, it would keep garbage among what lives long. */
function growToMost(): void {
  let growth: 1 | 2 = 2
  setGrowth(growth)
  const observer = new PerformanceObserver(() => {
    const wanted = youngBytes() < mostYoungBytes ? 2 : 1
    if (wanted !== growth) setGrowth((growth = wanted))
  })
  observer.observe({ entryTypes: ['gc'] })
}

/** There is a flag for the limit, but only for a process that is yet to start; the factor is read at each collection. */
function setGrowth(factor: 1 | 2): void {
  setFlagsFromString(`--semi-space-growth-factor=${factor}`)
}

function youngBytes(): number {
  return getHeapSpaceStatistics().find(({ space_name: name }) => name === 'new_space')?.space_size ?? 0
}
