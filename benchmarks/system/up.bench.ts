// `fairlead up` of the example shop: from the command to URLs that answer.
//   npm run bench -- up [--json] [--save]
import { execFileSync } from 'node:child_process'
import { join } from 'node:path'
import { freePort, Home, repository } from '../../tests/e2e/support/machine.ts'
import { figureOf, report } from '../report.ts'

const cold: number[] = []
const warm: number[] = []
const again: number[] = []
for (let round = 0; round < 3; round += 1) {
  // Cold: no images, no unpacked layers, no base, no build cache, no cluster. npm's and apt's own caches are the machine's.
  const port = await freePort()
  await using home = new Home({ SHOP_PORT: String(port) })
  home.env['FAIRLEAD_CACHE'] = join(home.dir, 'cache')
  cold.push(await up(home, port))
  // Images warm, nothing running: what a developer has in the morning.
  for (let time = 0; time < 3; time += 1) {
    await home.fairleadOk(['down'])
    warm.push(await up(home, port))
  }
  // Everything runs, nothing changed.
  for (let time = 0; time < 3; time += 1) again.push(await up(home, port))
}
report('up', [
  figureOf('fairlead up of the shop, cold', 's', cold, { atMost: 20 }),
  figureOf('fairlead up of the shop, images warm, cluster stopped', 's', warm, { atMost: 3 }),
  figureOf('fairlead up of the shop, nothing changed', 's', again),
])

async function up(home: Home, port: number): Promise<number> {
  const launcher = join(repository, 'packages', 'cli', 'bin', 'fairlead.mjs')
  const startedAt = performance.now()
  execFileSync(process.execPath, [launcher, 'up', 'examples/shop'], {
    cwd: repository,
    env: home.env,
    stdio: ['ignore', 'ignore', 'inherit'],
  })
  const elapsed = (performance.now() - startedAt) / 1000
  const page = await fetch(`http://127.0.0.1:${port}/`)
  if (!page.ok) throw new Error(`the shop answered ${page.status}`)
  return elapsed
}
