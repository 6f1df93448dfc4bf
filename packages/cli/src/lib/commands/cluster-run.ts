import { once } from 'node:events'
import { mkdirSync } from 'node:fs'
import { isAbsolute, resolve } from 'node:path'
import type { Cluster } from '@fairlead/cluster'
import { type Command, defineCommand } from '../command.ts'
import { defaultCluster } from '../embedded/cluster.ts'
import {
  type ClusterChoices,
  clusterFiles,
  type ClusterSettings,
  durabilities,
  readSettings,
  runtimes,
  writeWholeFile,
} from '../embedded/files.ts'
import { claimCluster } from '../embedded/process.ts'
import { createRegistryRun, registryOwner, type RegistryRun } from '../embedded/registry.ts'
import { type StartMessage, toFailed } from '../embedded/run.ts'
import { keepYoungGenerationSmall } from '../embedded/young-generation.ts'
import { portInUse } from '../errors.ts'
import { parseChoice, parseInteger, parseNames } from '../parse-command.ts'
import { describeHolder, findPortHolder, probePort } from '../ports.ts'

/** How often a cluster that stops says that it goes on. */
const stoppingEveryMs = 5_000

/** `fairlead cluster run`: what `cluster start` runs in the background. */
export const clusterRun: Command = defineCommand({
  name: 'cluster run',
  summary: 'run the embedded cluster in this process',
  description: 'Logs to stdout. Ends, and stops the pods, at SIGTERM or Ctrl-C.',
  options: {
    dir: { type: 'string', value: 'DIR', help: 'folder of the cluster' },
    images: { type: 'string', value: 'DIR', help: 'the image store' },
    port: { type: 'string', value: 'N', help: 'port of the API server' },
    runtime: { type: 'string', value: 'KIND', help: 'auto, runc or process' },
    durability: { type: 'string', value: 'MODE', help: 'strict, relaxed or memory' },
    nodes: { type: 'string', value: 'N', help: 'how many nodes it shows' },
    zones: { type: 'string', value: 'A,B', help: 'zones its nodes are in, in turn' },
    'image-policy': { type: 'string', value: 'FILE', help: 'which images may run' },
    'audit-log': { type: 'string', value: 'FILE', help: 'file of the audit log' },
    'audit-policy': { type: 'string', value: 'FILE', help: 'what the audit log holds' },
    'access-log': { type: 'string', value: 'FILE', help: 'file of the requests that pass the gateway' },
    'kubelet-config': { type: 'string', value: 'FILE', help: 'what nodes keep free and remove' },
    'registry-port': { type: 'string', value: 'N', help: 'port of the registry' },
    'no-registry': { type: 'boolean', help: 'without the registry' },
    'no-gateway': { type: 'boolean', help: 'without the gateway' },
  },
  examples: [{ command: 'fairlead cluster run', text: 'in the foreground, to see its log' }],
  async run({ options, homes, env, cwd, terminal, signal }) {
    const dir = options.dir ?? homes.cluster(defaultCluster)
    const files = clusterFiles(isAbsolute(dir) ? dir : resolve(cwd, dir))
    const scope = AbortSignal.any([signal, starterGone()])
    const log = (entry: object): void => terminal.print(renderLogLine(entry, new Date()))
    mkdirSync(files.dir, { recursive: true, mode: 0o700 })
    const choices: ClusterChoices = {
      runtime: parseChoice('runtime', options.runtime, runtimes),
      durability: parseChoice('durability', options.durability, durabilities),
      imagePolicy: options['image-policy'] === undefined ? undefined : resolve(cwd, options['image-policy']),
      auditLog: options['audit-log'] === undefined ? undefined : resolve(cwd, options['audit-log']),
      auditPolicy: options['audit-policy'] === undefined ? undefined : resolve(cwd, options['audit-policy']),
      accessLog: options['access-log'] === undefined ? undefined : resolve(cwd, options['access-log']),
      kubeletConfig: options['kubelet-config'] === undefined ? undefined : resolve(cwd, options['kubelet-config']),
      noRegistry: options['no-registry'] || undefined,
      noGateway: options['no-gateway'] || undefined,
      nodes: parseInteger('nodes', options.nodes, 1, 20),
      zones: parseNames(options.zones),
    }
    using claim = claimCluster(files, choices)
    if (!claim) return await tell({ type: 'taken' }, 1)
    const imagesDir = options.images ?? homes.images
    let settings = readSettings(files)
    let cluster: Cluster
    let registry: RegistryRun | undefined
    try {
      const port = await choosePort('--port', parseInteger('port', options.port, 1, 65535), settings.port)
      if (!choices.noRegistry) {
        const asked = parseInteger('registry-port', options['registry-port'], 1, 65535)
        registry = createRegistryRun({
          imagesDir,
          owner: registryOwner(files),
          port: await choosePort('--registry-port', asked, settings.registryPort),
          onState: (state, registryPort) => {
            claim.update({ registry: state })
            if (registryPort !== undefined) remember({ registryPort })
          },
          onLog: log,
        })
      }
      using _calm = keepYoungGenerationSmall()
      const { startCluster } = await import('@fairlead/cluster')
      const {
        imagePolicy,
        auditLog: logFile,
        auditPolicy: policyFile,
        noRegistry: _,
        noGateway,
        kubeletConfig: kubeletConfigFile,
        ...rest
      } = choices
      // With what checks signatures, which most clusters need not load.
      const policy =
        imagePolicy === undefined
          ? undefined
          : await (await import('../image/signing.ts')).loadImagePolicy(imagePolicy, env)
      cluster = await startCluster({
        dir: files.data,
        imagesDir,
        port,
        ...rest,
        gateway: noGateway !== true,
        kubeletConfigFile,
        imagePolicy: policy,
        telemetry: env,
        audit: logFile === undefined ? undefined : { logFile, policyFile },
        // Loaded when an image is pulled.
        async openRegistryClient(credentials) {
          const { openClient } = await import('../image/registry.ts')
          return openClient(env, { credentials })
        },
        ownRegistries: () => registry?.hosts() ?? [],
        signal: scope,
        onLog: log,
      })
    } catch (error) {
      await tell(toFailed(error), 1)
      throw error
    }
    writeWholeFile(files.kubeconfig, cluster.kubeconfig)
    remember({ port: Number(new URL(cluster.url).port) })
    const running = claim.update({
      state: 'ready',
      url: cluster.url,
      runtime: cluster.runtime,
      nodes: cluster.nodes,
      ...(registry ? { registry: { state: 'starting' } } : {}),
    })
    await tell({ type: 'ready', process: running }, 0)
    log({ msg: 'cluster ready', url: cluster.url, runtime: cluster.runtime.kind })
    if (!scope.aborted) {
      registry?.start()
      await once(scope, 'abort')
    }
    log({ msg: 'cluster stopping' })
    const saying = setInterval(() => claim.update({ stoppingAt: Date.now() }), stoppingEveryMs)
    await Promise.all([cluster.close({ stopPods: true }), registry?.[Symbol.asyncDispose]()])
    clearInterval(saying)
    log({ msg: 'cluster stopped' })
    return 0

    function remember(change: ClusterSettings): void {
      settings = { ...settings, ...change }
      writeWholeFile(files.settings, JSON.stringify(settings))
    }
  },
})

/** Aborted when the process that started this one ends before it was told that the cluster is ready. */
function starterGone(): AbortSignal {
  const controller = new AbortController()
  if (process.send) process.once('disconnect', () => controller.abort(new Error('The starting process ended')))
  return controller.signal
}

/** Tells the process that started this one, when there is one. */
async function tell(message: StartMessage, exitCode: number): Promise<number> {
  const { promise, resolve: done } = Promise.withResolvers<void>()
  if (process.send) {
    process.removeAllListeners('disconnect')
    process.send(message, undefined, undefined, () => done())
    await promise
    if (process.connected) process.disconnect()
  }
  return exitCode
}

/** A port that was asked for must be free; the one of the last time is taken when it is. */
async function choosePort(
  option: '--port' | '--registry-port',
  asked: number | undefined,
  remembered: number | undefined,
): Promise<number> {
  if (asked !== undefined) {
    if ((await probePort(asked)) === 'free') return asked
    const holder = describeHolder(findPortHolder(asked))
    const what = option === '--port' ? 'the API server' : 'the registry'
    throw portInUse(asked, what, holder, `Choose another with ${option}, or end that process`)
  }
  return remembered !== undefined && (await probePort(remembered)) === 'free' ? remembered : 0
}

/** One line of the log, JSON; errors with their code, causes and stack. */
function renderLogLine(entry: object, now: Date): string {
  return JSON.stringify({ time: now.toISOString(), ...entry }, (_, value: unknown) =>
    value instanceof Error ? describeError(value) : value,
  )
}

function describeError(error: Error): object {
  const code: unknown = Reflect.get(error, 'code')
  return { message: error.message, code, stack: error.stack, cause: error.cause }
}
