import assert from 'node:assert/strict'
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { describe, it } from 'node:test'
import { checkImports, parseImports } from './check-imports.ts'

describe('parseImports', () => {
  it('finds static, type, side-effect, re-exporting and dynamic imports, and ignores comments', () => {
    const text = [
      "import { a } from './a.ts'",
      "import type { B } from '@x/b'",
      "import 'side-effect'",
      'import {',
      '  c,',
      "} from 'c'",
      "export { d } from './d.ts'",
      "const e = await import('e')",
      "// import { f } from 'f'",
      "/* import { g } from 'g' */",
    ].join('\n')
    assert.deepEqual(
      parseImports(text).map(({ specifier, isType }) => `${specifier}${isType ? ' (type)' : ''}`),
      ['./a.ts', '@x/b (type)', 'side-effect', 'c', './d.ts', 'e'],
    )
  })
})

describe('checkImports', () => {
  const layers = { packages: { low: [], high: ['low'] }, folders: { high: { left: [], right: ['left'] } } }

  const cases: { name: string; files: Record<string, string>; expected: RegExp[] }[] = [
    {
      name: 'accepts what the table allows',
      files: { 'high/src/index.ts': "import { a } from 'low'\nimport fs from 'node:fs'" },
      expected: [],
    },
    {
      name: 'refuses an import upwards',
      files: { 'low/src/lib/a.ts': "import type { b } from 'high'" },
      expected: [/low may not import high/, /not among the dependencies/],
    },
    {
      name: 'refuses a path into another package',
      files: { 'high/src/lib/a.ts': "import { b } from '../../../low/src/lib/b.ts'" },
      expected: [/reaches into another package/],
    },
    {
      name: 'refuses an undeclared dependency',
      files: { 'high/src/lib/a.ts': "import x from 'left-pad'" },
      expected: [/"left-pad" is not among the dependencies of high/],
    },
    {
      name: 'refuses folders that do not know each other',
      files: { 'high/src/lib/left/a.ts': "import { b } from '../right/b.ts'", 'high/src/lib/right/b.ts': '' },
      expected: [/folder left may not import folder right/],
    },
    {
      name: 'finds a cycle of values',
      files: { 'low/src/lib/a.ts': "import { b } from './b.ts'", 'low/src/lib/b.ts': "import { a } from './a.ts'" },
      expected: [/import cycle .*a\.ts -> .*b\.ts -> .*a\.ts/],
    },
    {
      name: 'lets types go round',
      files: {
        'low/src/lib/a.ts': "import type { B } from './b.ts'",
        'low/src/lib/b.ts': "import { a } from './a.ts'",
      },
      expected: [],
    },
    {
      name: 'refuses what loads all of fetch',
      files: {
        'low/src/lib/a.ts': "import { request } from 'node:http'",
        'low/src/lib/b.ts':
          "import type { Server } from 'node:http'\nconst { request } = process.getBuiltinModule('node:http')",
        'low/src/lib/b.test.ts': "import { request } from 'node:http'",
      },
      expected: [/a\.ts: takes node:http by process\.getBuiltinModule/],
    },
    {
      name: 'refuses export * in an entry',
      files: { 'low/src/index.ts': "export * from './lib/a.ts'", 'low/src/lib/a.ts': '' },
      expected: [/not "export \*"/],
    },
  ]
  for (const { name, files, expected } of cases) {
    it(name, () => {
      const root = mkdtempSync(join(tmpdir(), 'fairlead-imports-'))
      try {
        const write = (path: string, text: string): void => {
          mkdirSync(dirname(join(root, path)), { recursive: true })
          writeFileSync(join(root, path), text)
        }
        write('layers.json', JSON.stringify(layers))
        write('packages/low/package.json', JSON.stringify({ name: 'low' }))
        write('packages/high/package.json', JSON.stringify({ name: 'high', dependencies: { low: '1' } }))
        for (const [path, text] of Object.entries(files)) write(`packages/${path}`, text)
        const violations = checkImports(root)
        assert.equal(violations.length, expected.length, violations.join('\n'))
        for (const pattern of expected) assert.match(violations.join('\n'), pattern)
      } finally {
        rmSync(root, { recursive: true })
      }
    })
  }
})
