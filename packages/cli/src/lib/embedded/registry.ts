import { randomBytes } from 'node:crypto'
import { readFileSync } from 'node:fs'
import type { RegistryOwner, ServedRegistry } from '@fairlead/oci/server'
import { type ClusterFiles, type ClusterRegistry, readProcess, writeWholeFile } from './files.ts'

/** Name under which the owner of a cluster logs in to its registry. */
export const registryUser = 'fairlead'

export interface RegistryRunOptions {
  /** The image store. */
  readonly imagesDir: string
  /** Who may push to it; everybody on this machine may pull. */
  readonly owner: RegistryOwner
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
        owner: options.owner,
        anonymous: 'pull',
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

/** The user who runs this process, known by the kernel of Linux and, there and elsewhere, by the password of a file. */
export function registryOwner(files: ClusterFiles): RegistryOwner {
  const password = readPassword(files) ?? randomBytes(32).toString('base64url')
  // Kept across restarts: who has logged in stays so.
  if (readPassword(files) === undefined) writeWholeFile(files.registryPassword, password)
  return { name: registryUser, uid: currentUid(), password }
}

/** Who programs of this user are to the kernel; `undefined` where it does not tell of connections. */
export function currentUid(): number | undefined {
  return process.platform === 'linux' ? process.getuid?.() : undefined
}

/** The log-in for a host, when it is the registry of a cluster of this user. */
export function readClusterCredentials(
  files: ClusterFiles,
  host: string,
): { username: string; password: string } | undefined {
  const registry = readProcess(files)?.registry
  if (registry?.state !== 'ready' || !hostsOf(Number(registry.address.split(':')[1])).includes(host)) return undefined
  const password = readPassword(files)
  return password === undefined ? undefined : { username: registryUser, password }
}

function readPassword(files: ClusterFiles): string | undefined {
  try {
    return readFileSync(files.registryPassword, 'utf8').trim() || undefined
  } catch {
    return undefined
  }
}

function hostsOf(port: number): readonly string[] {
  return port === 0 ? [] : [`127.0.0.1:${port}`, `localhost:${port}`]
}
