import type { ServedRegistry } from '@fairlead/oci/server'
import type { ClusterRegistry } from './files.ts'

export interface RegistryRunOptions {
  /** The image store. */
  readonly imagesDir: string
  /** 0: any free one. */
  readonly port: number
  /** Told how the start ended. */
  readonly onState: (state: ClusterRegistry, port?: number) => void
  readonly onLog: (entry: object) => void
}

/** The registry of one cluster process: it serves the image store on loopback. */
export interface RegistryRun extends AsyncDisposable {
  /** Begins to serve. Nobody waits for it, and a cluster without its registry is still a cluster, so it does not throw. */
  start(): void
  /** Hosts, with port, that mean this registry in references. */
  hosts(): readonly string[]
}

/** Makes the registry of a cluster; it is loaded and listens from `start` on. */
export function createRegistryRun(options: RegistryRunOptions): RegistryRun {
  const { imagesDir, onState, onLog } = options
  // Known before it listens where it was chosen: pods that are taken over may look for their images before that.
  let hosts = hostsOf(options.port)
  let starting: Promise<ServedRegistry | undefined> | undefined
  return {
    hosts: () => hosts,
    start() {
      starting ??= serve()
    },
    async [Symbol.asyncDispose]() {
      await (await starting)?.close()
    },
  }

  async function serve(): Promise<ServedRegistry | undefined> {
    let registry: ServedRegistry | undefined
    try {
      const { serveRegistry } = await import('@fairlead/oci/server')
      registry = await serveRegistry({
        dir: imagesDir,
        port: options.port,
        // The store is the builds' too: what it no longer needs goes by "image prune", and not because a cluster ran.
        collect: { everyMs: 0 },
        onLog,
      })
      const port = Number(new URL(registry.url).port)
      hosts = hostsOf(port)
      onState({ state: 'ready', address: registry.address }, port)
      onLog({ level: 'info', msg: 'registry ready', url: registry.url })
      return registry
    } catch (err) {
      hosts = []
      await registry?.close()
      const reason = err instanceof Error ? err.message : String(err)
      onState({ state: 'failed', reason })
      onLog({ level: 'warn', msg: 'registry failed', err })
      return undefined
    }
  }
}

function hostsOf(port: number): readonly string[] {
  return port === 0 ? [] : [`127.0.0.1:${port}`, `localhost:${port}`]
}
