// `npm run build`: see build-cli.ts.
import { spawnSync } from 'node:child_process'
import { join } from 'node:path'
import { root, setUp } from './setup.mjs'

const result = spawnSync(setUp(), [join(root, 'scripts', 'build-cli.ts')], { cwd: root, stdio: 'inherit' })
process.exit(result.status ?? 1)
