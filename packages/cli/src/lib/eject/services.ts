import { join } from 'node:path'
import type { EjectedService, PlannedHealth } from '@fairlead/build/eject'
import type { App, AppService } from '@fairlead/delivery/app'
import { parseReference, renderReference } from '@fairlead/oci'
import { openClient } from '../image/registry.ts'
import type { Terminal } from '../terminal/terminal.ts'

/** A service with the files that build it. */
export interface EjectedAppService {
  readonly service: AppService
  readonly ejected: EjectedService
}

/** How to eject the services of an app. */
interface EjectServicesOptions {
  /** Folder for the files of all, each in one of its own; default: beside the source. */
  readonly outputDir?: string | undefined
  readonly env: NodeJS.ProcessEnv
  readonly signal: AbortSignal
}

/** Plans the Dockerfile of every service. The images they start from are pinned when their registries answer. */
export async function ejectServices(app: App, options: EjectServicesOptions): Promise<EjectedAppService[]> {
  const { ejectDockerfile } = await import('@fairlead/build/eject')
  const pin = createPin(options)
  const ejected: EjectedAppService[] = []
  for (const service of app.services) {
    const { outputDir } = options
    const planned = await ejectDockerfile(service.dir, {
      name: service.name,
      port: service.port,
      health: toHealth(service),
      pin,
      ...(outputDir === undefined
        ? {}
        : { outputDir: app.services.length === 1 ? outputDir : join(outputDir, service.name) }),
    })
    ejected.push({ service, ejected: planned })
  }
  return ejected
}

/** Ready rather than alive: who waits for the service waits for its answers. */
export function toHealth({ health }: AppService): PlannedHealth {
  return health.kind === 'http' ? { kind: 'http', path: health.ready } : health
}

/** Says which images could not be pinned. */
export function noteUnpinned(services: readonly EjectedAppService[], terminal: Terminal): void {
  const images = [...new Set(services.flatMap(({ ejected }) => ejected.unpinned))]
  if (images.length === 0) return
  terminal.note(`not pinned by digest, because the registry did not answer: ${images.join(', ')}`)
}

/** Asks each reference once; whatever goes wrong, the version in the tag must do. */
function createPin({ env, signal }: EjectServicesOptions): (reference: string) => Promise<string | undefined> {
  const client = openClient(env)
  const known = new Map<string, Promise<string | undefined>>()
  return (text) => {
    const asked = known.get(text) ?? resolve(text)
    known.set(text, asked)
    return asked
  }

  async function resolve(text: string): Promise<string | undefined> {
    const reference = parseReference(text)
    try {
      if (!(await client.isReachable(reference, { timeoutMs: 3000, signal }))) return undefined
      const { digest } = await client.resolve(reference, signal)
      return `${renderReference(reference)}@${digest}`
    } catch (error) {
      signal.throwIfAborted()
      if (error instanceof TypeError) throw error
      return undefined
    }
  }
}
