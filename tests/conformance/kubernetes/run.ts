// Runs the conformance suite of Kubernetes against a cluster of its own; README.md beside this tells how. By hand: it
// needs Go and root, and builds upstream's programs first.
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdir, readFile, rm, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { parseArgs } from 'node:util'
import { pushImages } from './images.ts'
import { perform } from './perform.ts'
import { buildPrograms, isThere } from './programs.ts'
import { parseReport, renderReport } from './report.ts'

const { values } = parseArgs({
  options: {
    work: { type: 'string', default: '/tmp/fairlead-conformance' },
    focus: { type: 'string', default: '\\[Conformance\\]' },
    skip: { type: 'string', default: '\\[Flaky\\]' },
    file: { type: 'string', multiple: true, default: [] },
    timeout: { type: 'string', default: '3h' },
    name: { type: 'string', default: 'all' },
    report: { type: 'string', multiple: true },
    procs: { type: 'string', default: '1' },
    nodes: { type: 'string', default: '2' },
    keep: { type: 'boolean', default: false },
  },
})
const { work } = values
const command = join(import.meta.dirname, '../../../packages/cli/src/main.ts')
const env: NodeJS.ProcessEnv = { ...process.env, FAIRLEAD_HOME: join(work, 'home') }

interface Status {
  readonly kubeconfig: string
  readonly registry: { readonly address: string }
}

async function fairlead(...args: string[]): Promise<string> {
  const { stdout } = await perform(process.execPath, ['--conditions=@fairlead/source', command, ...args], { env })
  return stdout
}

/** A cluster with its home in `work`, with the images of the suite in its store. */
async function startCluster(): Promise<Status> {
  await fairlead('cluster', 'start', '--json', '--nodes', values.nodes)
  const status = JSON.parse(await fairlead('cluster', 'status', '--json')) as Status
  const { address } = status.registry
  const programs = await buildPrograms(work)
  const marker = join(work, 'home', 'images-pushed')
  if (!(await isThere(marker))) {
    await pushImages(programs, work, address)
    await writeFile(marker, '')
  }
  const registries = {
    promoterE2eRegistry: `${address}/e2e-test-images`,
    gcEtcdRegistry: `${address}/k8s`,
    gcRegistry: `${address}/k8s`,
  }
  const list = Object.entries(registries).map(([name, at]) => `${name}: ${at}\n`)
  await writeFile(join(work, 'registries.yaml'), list.join(''))
  return status
}

/** Runs the specs that were asked for and returns the path of the report. */
async function runSuite({ kubeconfig }: Status): Promise<string> {
  const out = join(work, 'out', values.name)
  await rm(out, { recursive: true, force: true })
  await mkdir(out, { recursive: true })
  const filters = [
    `-ginkgo.timeout=${values.timeout}`,
    `-ginkgo.focus=${values.focus}`,
    `-ginkgo.skip=${values.skip}`,
    ...values.file.map((file) => `-ginkgo.focus-file=${file}`),
    '-ginkgo.no-color',
    '-ginkgo.v',
  ]
  const own = [
    `-kubeconfig=${kubeconfig}`,
    `-kubectl-path=${join(work, 'kubectl')}`,
    `-report-dir=${out}`,
    `-num-nodes=${values.nodes}`,
    ...'-provider=skeleton -disable-log-dump -allowed-not-ready-nodes=0'.split(' '),
  ]
  const program = join(work, 'e2e.test')
  // Side by side by ginkgo's own command, which takes the same options by shorter names.
  const shared = filters.map((option) => option.replace('-ginkgo.', '-'))
  const [file, args] =
    values.procs === '1'
      ? [program, [...own, ...filters]]
      : [join(work, 'ginkgo'), [`-procs=${values.procs}`, ...shared, program, '--', ...own]]
  const suite = spawn(file, args, {
    cwd: out,
    env: { ...env, KUBE_TEST_REPO_LIST: join(work, 'registries.yaml') },
    stdio: 'inherit',
  })
  await once(suite, 'close')
  return join(out, 'junit_01.xml')
}

async function main(): Promise<void> {
  const reports = values.report ?? [await runSuite(await startCluster())]
  const texts = await Promise.all(reports.map((path) => readFile(path, 'utf8')))
  const results = texts.flatMap((text) => parseReport(text))
  process.stdout.write(renderReport(results))
  if (values.report === undefined && !values.keep) await fairlead('down', '--purge')
  process.exitCode = results.every(({ passed }) => passed) ? 0 : 1
}

await main()
