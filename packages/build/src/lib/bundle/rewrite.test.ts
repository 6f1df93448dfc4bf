import assert from 'node:assert/strict'
import { join } from 'node:path'
import { describe, it } from 'node:test'

import { createFixture, lockFiles } from '../source/project-fixture.ts'
import { loadProject } from '../source/project.ts'
import { rewriteModule } from './rewrite.ts'
import type { Rewritten } from './rewrite.ts'

const FILES = {
  ...lockFiles({ '': {} }),
  'package.json': '{}',
  'src/main.ts': '',
  'src/worker.ts': '',
  'src/views/a.html': 'a',
  'src/logo.svg': 'svg',
  'public/style.css': 'css',
  'browser.js': '',
}

interface Outcome extends Omit<Rewritten, 'assets' | 'programs'> {
  assets: string[]
  programs: string[]
}

async function rewrite(code: string, file = 'src/main.ts'): Promise<Outcome> {
  await using fixture = await createFixture(FILES)
  const project = await loadProject(fixture.dir)
  const result = rewriteModule({ project, code, path: join(fixture.dir, file), lang: 'ts' })
  assert.ok(result)
  const below = (path: string): string => path.slice(fixture.dir.length + 1)
  return { ...result, assets: result.assets.map(below), programs: result.programs.map(({ path }) => below(path)) }
}

describe('rewriteModule', () => {
  const assets = [
    { code: `readFile(new URL('./logo.svg', import.meta.url))`, found: ['src/logo.svg'] },
    { code: `new URL('./views/', import.meta.url).pathname`, found: ['src/views'] },
    { code: `path.join(__dirname, '..', 'public')`, found: ['public'] },
    { code: `join(import.meta.dirname, 'views', name)`, found: ['src/views'] },
    { code: 'new URL(`./views/${name}.html`, import.meta.url)', found: ['src/views'] },
    { code: `__dirname + '/logo.svg'`, found: ['src/logo.svg'] },
    { code: '`${__dirname}/views/a.html`', found: ['src/views/a.html'] },
    {
      code: `const here = dirname(fileURLToPath(import.meta.url)); read(join(here, 'logo.svg'))`,
      found: ['src/logo.svg'],
    },
    {
      code: `const dir = new URL('../public/', import.meta.url); new URL('style.css', dir)`,
      found: ['public', 'public/style.css'],
    },
    { code: `readFileSync(resolve(__dirname, '../browser.js'))`, found: ['browser.js'] },
    { code: `join(__dirname, 'missing')`, found: [] },
    { code: `new URL('https://example.test/a', import.meta.url)`, found: [] },
    {
      code: `const require = createRequire(import.meta.url); require('../public/style.css')`,
      found: ['public/style.css'],
    },
  ]
  for (const { code, found } of assets) {
    it(`finds ${found.join(' and ') || 'nothing'} in ${code}`, async () => {
      assert.deepEqual((await rewrite(code)).assets.toSorted(), found)
    })
  }

  const texts = [
    { code: 'use(__dirname)', expected: 'use((__fairleadRoot + "/src"))' },
    { code: 'use({ __dirname })', expected: 'use({ __dirname: (__fairleadRoot + "/src") })' },
    { code: 'a.__dirname; b = { __dirname: 1 }', expected: 'a.__dirname; b = { __dirname: 1 }' },
    { code: 'use(__filename)', expected: 'use((__fairleadRoot + "/src/main.ts"))' },
    { code: '/* ü 😀 */ use(import.meta.url)', expected: '/* ü 😀 */ use((__fairleadUrl + "src/main.ts"))' },
    { code: 'const __dirname = f(); use(__dirname)', expected: 'const __dirname = f(); use(__dirname)' },
    { code: 'if (require.main === module) start()', expected: 'if (true) start()' },
    { code: 'if (module !== require.main) start()', expected: 'if (false) start()' },
    { code: 'if (!module.parent) start()', expected: 'if (!null) start()' },
    { code: 'if (import.meta.main) start()', expected: 'if (true) start()' },
    { code: 'same(process.argv[1])', expected: 'same((__fairleadRoot + "/src/main.ts"))' },
  ]
  for (const { code, expected } of texts) {
    it(`turns ${code} into ${expected}`, async () => assert.equal((await rewrite(code)).code, expected))
  }

  it('knows that only the entry is the program that was started', async () => {
    assert.equal((await rewrite('if (require.main === module) start()', 'src/worker.ts')).code, 'if (false) start()')
    assert.equal((await rewrite('if (!module.parent) start()', 'src/worker.ts')).code, 'if (!({})) start()')
  })

  it('makes a chunk of a program that a worker runs', async () => {
    const { code, programs, assets: found } = await rewrite(`new Worker(new URL('./worker.ts', import.meta.url))`)
    assert.deepEqual(programs, ['src/worker.ts'])
    assert.deepEqual(found, [])
    assert.equal(code, 'new Worker(new URL("src-worker.js", __fairleadUrl))')
  })

  it('reports uses of its own place that it cannot follow', async () => {
    const { unknown } = await rewrite('first()\nserve(__dirname)')
    assert.deepEqual(unknown, ['uses its own path in line 2'])
  })
})
