// `npm start`: set up what is missing, then bring the example shop up. Further arguments go to `fairlead up`.
import { spawnSync } from 'node:child_process'
import { join } from 'node:path'
import { root, setUp } from './setup.mjs'

const node = setUp()
const cli = join(root, 'packages', 'cli', 'src', 'main.ts')
const extra = process.argv.slice(2)
const result = spawnSync(node, ['--conditions=@fairlead/source', cli, 'up', join('examples', 'shop'), ...extra], {
  cwd: root,
  stdio: 'inherit',
})
process.exit(result.status ?? 1)
