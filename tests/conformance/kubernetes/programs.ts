import { access, cp, mkdir, readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { perform } from './perform.ts'

/** The version whose suite is run: that of the API that is served. */
export const kubernetesVersion = '1.36.3'

/** Where the programs of a run are. */
export interface Programs {
  /** Source of Kubernetes, with its staging modules taken from the module proxy. */
  readonly source: string
  readonly suite: string
  /** The one of the machine may be of another version. */
  readonly kubectl: string
  /** Runs specs of the suite beside each other. */
  readonly ginkgo: string
  readonly agnhost: string
  readonly nonewprivs: string
  readonly sampleApiServer: string
  /** The consumer of the specs of autoscaling, and the program it starts to burn processor time. */
  readonly resourceConsumer: string
  readonly consumeCpu: string
  /** Server that sends packets outside of the window of a connection. */
  readonly invalidConntrack: string
}

/** Builds what the suite consists of with Go, in `work`. What is there already stays. */
export async function buildPrograms(work: string): Promise<Programs> {
  const programs: Programs = {
    source: join(work, 'src'),
    suite: join(work, 'e2e.test'),
    kubectl: join(work, 'kubectl'),
    ginkgo: join(work, 'ginkgo'),
    agnhost: join(work, 'agnhost-bin'),
    nonewprivs: join(work, 'nnp'),
    sampleApiServer: join(work, 'sample-apiserver'),
    resourceConsumer: join(work, 'resource-consumer'),
    consumeCpu: join(work, 'consume-cpu'),
    invalidConntrack: join(work, 'regression-issue-74839'),
  }
  const { source } = programs
  if (!(await isThere(source))) await loadSource(source)
  if (!(await isThere(programs.suite))) await compile(source, ['test', '-c', '-o', programs.suite, './test/e2e'])
  const buildOf = async (output: string, path: string): Promise<void> => {
    if (!(await isThere(output))) await compile(source, ['build', '-ldflags=-s -w', '-o', output, path])
  }
  await buildOf(programs.ginkgo, 'github.com/onsi/ginkgo/v2/ginkgo')
  await buildOf(programs.kubectl, './cmd/kubectl')
  await buildOf(programs.agnhost, './test/images/agnhost')
  await buildOf(programs.nonewprivs, './test/images/nonewprivs')
  await buildOf(programs.sampleApiServer, 'k8s.io/sample-apiserver')
  await buildOf(programs.resourceConsumer, './test/images/resource-consumer')
  await buildOf(programs.consumeCpu, './test/images/resource-consumer/consume-cpu')
  await buildOf(programs.invalidConntrack, './test/images/regression-issue-74839')
  return programs
}

export async function isThere(path: string): Promise<boolean> {
  return await access(path).then(
    () => true,
    () => false,
  )
}

/** The module of Kubernetes has no staging folder: its modules come from the proxy, under their own versions. */
export async function loadSource(source: string): Promise<void> {
  const version = `v${kubernetesVersion}`
  const { stdout } = await perform('go', ['mod', 'download', '-json', `k8s.io/kubernetes@${version}`])
  const { Dir: module } = JSON.parse(stdout) as { Dir: string }
  await mkdir(join(source, '..'), { recursive: true })
  await cp(module, source, { recursive: true })
  await perform('chmod', ['-R', 'u+w', source])
  const staged = await readFile(join(source, 'go.mod'), 'utf8')
  const names = [...staged.matchAll(/^\t(k8s\.io\/\S+) => \.\/staging/gm)].map(([, name]) => name ?? '')
  const edits = names.map((name) => `-replace=${name}=${name}@v0${version.slice(2)}`)
  await perform('go', ['mod', 'edit', ...edits], { cwd: source })
}

export async function compile(source: string, args: readonly string[]): Promise<void> {
  const env = { ...process.env, GOFLAGS: '-mod=mod', GOWORK: 'off', CGO_ENABLED: '0' }
  await perform('go', args, { cwd: source, env, timeoutMs: 3_600_000 })
}
