import { setTimeout as sleep } from 'node:timers/promises'
import { type Command, defineCommand, jsonOption } from '../command.ts'
import { connectEmbedded, embeddedFiles, isHealthy } from '../embedded/cluster.ts'
import { type ClusterFiles, type ClusterProcess, type ClusterRegistry, describeRuntime } from '../embedded/files.ts'
import { type Entrance, listEntrances, renderEntrance } from '../embedded/gateway.ts'
import { findProcess, hasDied } from '../embedded/process.ts'
import { renderAge } from '../terminal/text.ts'

/** The registry starts after the cluster, and takes tens of milliseconds. */
const registryDeadlineMs = 2_000

/** `fairlead cluster status` */
export const clusterStatus: Command = defineCommand({
  name: 'cluster status',
  summary: 'tell whether the embedded cluster runs, and where',
  description: 'Exit code 0 when it runs and answers, 1 otherwise.',
  options: { json: jsonOption },
  examples: [{ command: 'fairlead cluster status --json', text: 'for scripts' }],
  async run({ options, homes, terminal, signal }) {
    const files = embeddedFiles(homes)
    const running = await findSettled(files, signal)
    const state = await readState()
    const entrances = state === 'running' ? await listServed() : undefined
    const facts = {
      state,
      url: running?.url,
      pid: running?.pid,
      runtime: running?.runtime,
      nodes: running?.nodes,
      registry: running?.registry,
      gateway: entrances,
      startedAt: running?.startedAt,
      dir: files.dir,
      kubeconfig: files.kubeconfig,
      log: files.log,
    }
    if (options.json) terminal.printJson(facts)
    else if (running) {
      const age = renderAge(running.startedAt, Date.now())
      terminal.print(`${state} at ${running.url ?? '-'}, process ${running.pid}, for ${age}`)
      const count = running.nodes?.length ?? 1
      terminal.print(`pods as ${describeRuntime(running)}${count > 1 ? `, on ${count} nodes` : ''}`)
      const { notEnforced = [] } = running.runtime ?? {}
      if (notEnforced.length > 0) terminal.print(`not enforced: ${notEnforced.join(', ')}`)
      if (running.registry) terminal.print(`registry ${renderRegistry(running.registry)}`)
      for (const one of entrances ?? []) terminal.print(renderEntrance(one))
      terminal.print(`data in ${files.dir}`)
    } else terminal.print(`${state}; fairlead cluster start starts it`)
    return state === 'running' ? 0 : 1

    async function listServed(): Promise<Entrance[]> {
      return await listEntrances(connectEmbedded(homes), signal)
    }

    async function readState(): Promise<'running' | 'starting' | 'unhealthy' | 'stopped' | 'died'> {
      if (!running) return hasDied(files) ? 'died' : 'stopped'
      if (running.state === 'starting') return 'starting'
      return (await isHealthy(connectEmbedded(homes), signal)) ? 'running' : 'unhealthy'
    }
  },
})

/** The process of the cluster, once it is known whether its registry came up. */
async function findSettled(files: ClusterFiles, signal: AbortSignal): Promise<ClusterProcess | undefined> {
  const end = Date.now() + registryDeadlineMs
  for (;;) {
    const running = findProcess(files)
    if (running?.registry?.state !== 'starting' || Date.now() > end) return running
    await sleep(20, undefined, { signal })
  }
}

function renderRegistry(registry: ClusterRegistry): string {
  if (registry.state === 'ready') return `at ${registry.address} serves localhost/ images`
  return registry.state === 'starting' ? 'is starting' : `failed: ${registry.reason}`
}
