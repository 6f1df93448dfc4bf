// `npm test`: set-up, then every stage; `--fast` stops after the stages that answer a developer within a minute;
// `--only=check,unit,integration,e2e` picks stages; further arguments are test files or node:test options.
import { spawnSync } from 'node:child_process'
import * as fs from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { root, setUp } from './setup.mjs'

const args = process.argv.slice(2)
const node = setUp({ tests: true })
// The rest needs a newer Node than npm may have started us with: fs.globSync, type stripping.
if (process.execPath !== node && process.env.FAIRLEAD_TEST_NODE !== node) {
  const again = spawnSync(node, [process.argv[1], ...args], {
    stdio: 'inherit',
    env: { ...process.env, FAIRLEAD_TEST_NODE: node },
  })
  process.exit(again.status ?? 1)
}

const source = '--conditions=@fairlead/source'
const bin = (name) => join(root, 'node_modules', '.bin', name)
const checks = [
  { name: 'format', command: [bin('oxfmt'), '--check', '.'] },
  { name: 'lint', command: [bin('oxlint'), '--type-aware', '--deny-warnings', '.'] },
  { name: 'types', command: [bin('tsc'), '-p', 'tsconfig.json'] },
  { name: 'types of packages', command: [bin('tsc'), '-p', 'tsconfig.packages.json'] },
  { name: 'imports', command: [node, 'scripts/check-imports.ts'] },
  { name: 'unused code', command: [bin('knip'), '--no-progress'] },
]
const stages = {
  check: () => checks.map(runCheck).every(Boolean),
  unit: () =>
    runTests(
      'unit',
      files('packages/*/src/**/*.test.ts', 'scripts/**/*.test.ts', 'examples/shop/*/src/**/*.test.ts').filter(
        (file) => !file.includes('.integration.'),
      ),
      // More than cores: files wait for sockets and child processes much of their time.
      ['--test-concurrency=4'],
    ),
  integration: () =>
    runTests('integration', files('packages/*/src/**/*.integration.test.ts'), ['--test-concurrency=2']),
  e2e: () => runTests('e2e', files('tests/e2e/**/*.test.ts'), ['--test-concurrency=1']),
}
const only = args
  .find((arg) => arg.startsWith('--only='))
  ?.slice('--only='.length)
  .split(',')
const wanted = only ?? (args.includes('--fast') ? ['check', 'unit'] : Object.keys(stages))
const totals = { passed: 0, failed: 0, skipped: 0 }
let isGreen = true
for (const name of wanted) {
  const stage = stages[name]
  if (stage === undefined) {
    console.error(`Cannot run test stage "${name}": expected one of ${Object.keys(stages).join(', ')}`)
    process.exit(2)
  }
  const startedAt = Date.now()
  console.log(`\n== ${name}`)
  const isStageGreen = stage()
  isGreen &&= isStageGreen
  console.log(`== ${name}: ${isStageGreen ? 'passed' : 'FAILED'} in ${((Date.now() - startedAt) / 1000).toFixed(1)} s`)
}
console.log(`\n${totals.passed} passed, ${totals.failed} failed, ${totals.skipped} skipped`)
process.exit(isGreen ? 0 : 1)

function runCheck({ name, command: [program, ...rest] }) {
  const result = spawnSync(program, rest, {
    cwd: root,
    encoding: 'utf8',
    env: { ...process.env, PATH: `${join(node, '..')}:${process.env.PATH}` },
  })
  const isCheckGreen = result.status === 0
  console.log(`${isCheckGreen ? 'ok  ' : 'FAIL'} ${name}`)
  if (!isCheckGreen) console.log(`${result.stdout}${result.stderr}`)
  totals[isCheckGreen ? 'passed' : 'failed'] += 1
  return isCheckGreen
}

function runTests(name, testFiles, options = []) {
  if (testFiles.length === 0) {
    console.log(`no ${name} tests found`)
    return false
  }
  const scratch = fs.mkdtempSync(join(tmpdir(), 'fairlead-test-'))
  const counts = join(scratch, 'counts.json')
  const reporters = [
    '--test-reporter=spec',
    '--test-reporter-destination=stdout',
    `--test-reporter=${join(root, 'scripts', 'count-reporter.mjs')}`,
    `--test-reporter-destination=${counts}`,
  ]
  const result = spawnSync(
    node,
    [
      source,
      '--disable-warning=ExperimentalWarning',
      '--test',
      '--test-timeout=1200000',
      ...options,
      ...reporters,
      ...testFiles,
    ],
    { cwd: root, stdio: ['ignore', 'inherit', 'inherit'], env: withoutTestContext() },
  )
  const counted = JSON.parse(fs.readFileSync(counts, 'utf8'))
  fs.rmSync(scratch, { recursive: true })
  for (const key of Object.keys(totals)) totals[key] += counted[key]
  return result.status === 0
}

function files(...patterns) {
  return patterns
    .flatMap((pattern) => fs.globSync(pattern, { cwd: root }))
    .filter((file) => !file.includes('node_modules'))
    .toSorted((a, b) => a.localeCompare(b))
}

function withoutTestContext() {
  const { NODE_TEST_CONTEXT: _, ...env } = process.env
  return env
}
