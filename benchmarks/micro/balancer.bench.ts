// What it costs a call to have its instance picked and to tell how it went: CPU per pick() and done(), by strategy and number of
// endpoints. Rounds are interleaved and the least of each counts, as on a shared machine everything else only adds.
import { createBalancer, createStaticSource } from '@fairlead/service/discovery'
import type { BalancerOptions, EndpointBalancer } from '@fairlead/service/discovery'
import { report } from '../report.ts'
import type { Figure } from '../report.ts'

const rounds = 9
const calls = 200_000

async function open(count: number, options: BalancerOptions): Promise<EndpointBalancer> {
  const endpoints = Array.from({ length: count }, (_, index) => ({
    host: `10.0.${index >> 8}.${index & 255}`,
    port: 80,
    weight: 1 + (index % 3),
  }))
  const balancer = createBalancer(createStaticSource(endpoints), options)
  await balancer.ready()
  return balancer
}

const subjects: Readonly<Record<string, EndpointBalancer>> = {
  'p2c, 3 endpoints': await open(3, { strategy: 'p2c' }),
  'p2c, 100 endpoints': await open(100, { strategy: 'p2c' }),
  'p2c, 1000 endpoints': await open(1000, { strategy: 'p2c' }),
  'p2c without outlier detection, 100 endpoints': await open(100, { strategy: 'p2c', outlier: false }),
  'least request, 100 endpoints': await open(100, { strategy: 'least-request' }),
  'round robin, 100 endpoints': await open(100, { strategy: 'round-robin' }),
  'weighted, 100 endpoints': await open(100, { strategy: 'weighted' }),
}

/** Eight calls under way at a time, so that endpoints differ in how busy they are. */
function cpuPerCall(balancer: EndpointBalancer): number {
  const underWay: ReturnType<EndpointBalancer['pick']>[] = []
  const before = process.cpuUsage()
  for (let index = 0; index < calls; index += 1) {
    underWay[index & 7] = balancer.pick()
    const oldest = underWay[(index + 1) & 7]
    // It has endpoints, so it answers at once.
    if (oldest !== undefined && 'done' in oldest) oldest.done('success', 5 + (index & 15), 200)
  }
  const { user, system } = process.cpuUsage(before)
  return ((user + system) * 1000) / calls
}

const samples = new Map<string, number[]>(Object.keys(subjects).map((name) => [name, []]))
for (let round = 0; round <= rounds; round += 1) {
  for (const [name, balancer] of Object.entries(subjects)) {
    const sample = cpuPerCall(balancer)
    // The first round is for the compiler.
    if (round > 0) samples.get(name)?.push(sample)
  }
}

report(
  'balancer',
  [...samples].map(([name, values]): Figure => ({
    name: `pick() and done(): ${name} (least of ${rounds})`,
    unit: 'ns',
    value: Math.min(...values),
    target: 200,
  })),
)
