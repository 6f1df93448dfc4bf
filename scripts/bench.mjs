// `npm run bench -- NAME [--json]`: runs benchmarks/system/NAME.ts; without a name lists what there is.
import { spawnSync } from 'node:child_process'
import { existsSync, readdirSync } from 'node:fs'
import { join } from 'node:path'
import { root, setUp } from './setup.mjs'

const folder = join(root, 'benchmarks', 'system')
const names = readdirSync(folder)
  .filter((file) => file.endsWith('.bench.ts'))
  .map((file) => file.slice(0, -'.bench.ts'.length))
const [name, ...rest] = process.argv.slice(2)
if (name === undefined) {
  console.log(names.join('\n'))
  process.exit(0)
}
const file = join(folder, `${name}.bench.ts`)
if (!existsSync(file)) {
  console.error(`Cannot run benchmark "${name}": there is none, expected one of ${names.join(', ')}`)
  process.exit(2)
}
const node = setUp({ tests: true })
const result = spawnSync(node, ['--conditions=@fairlead/source', file, ...rest], { cwd: root, stdio: 'inherit' })
process.exit(result.status ?? 1)
