// `npm run bench -- NAME [--json]`: runs NAME.bench.ts of benchmarks/system or benchmarks/micro; without a name lists what there is.
import { spawnSync } from 'node:child_process'
import { readdirSync } from 'node:fs'
import { join } from 'node:path'
import { root, setUp } from './setup.mjs'

const files = ['system', 'micro'].flatMap((kind) => {
  const folder = join(root, 'benchmarks', kind)
  return readdirSync(folder)
    .filter((file) => file.endsWith('.bench.ts'))
    .map((file) => ({ name: file.slice(0, -'.bench.ts'.length), path: join(folder, file) }))
})
const names = files.map((file) => file.name)
const [name, ...rest] = process.argv.slice(2)
if (name === undefined) {
  console.log(names.join('\n'))
  process.exit(0)
}
const file = files.find((known) => known.name === name)?.path
if (file === undefined) {
  console.error(`Cannot run benchmark "${name}": there is none, expected one of ${names.join(', ')}`)
  process.exit(2)
}
const node = setUp({ tests: true })
const result = spawnSync(node, ['--conditions=@fairlead/source', file, ...rest], { cwd: root, stdio: 'inherit' })
process.exit(result.status ?? 1)
