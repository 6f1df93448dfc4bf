import { parseReference } from '@fairlead/oci'
import { openLayout } from '@fairlead/oci/layout'
import { createUserClient, pushImage } from '@fairlead/oci/registry'
import type { Credentials, PushedImage, RegistryClient, TransferCounts, TransferEvent } from '@fairlead/oci/registry'
import type { Flag, TextOption } from '../command.ts'
import { embeddedFiles } from '../embedded/cluster.ts'
import { readClusterCredentials } from '../embedded/registry.ts'
import { usage } from '../errors.ts'
import { type Homes, resolveHomes } from '../homes.ts'
import type { Steps } from '../terminal/steps.ts'
import { renderSize } from '../terminal/text.ts'

/** `--insecure` */
export const insecureOption: Flag = { type: 'boolean', help: 'speak to the registry without TLS' }
/** `--all-platforms` */
export const allPlatformsOption: Flag = { type: 'boolean', help: 'all platforms of the image, not only this one' }
/** `--layout DIR` */
export const layoutOption: TextOption = {
  type: 'string',
  value: 'DIR',
  help: 'another OCI image layout than the local store',
}
/** `--referrers` */
export const referrersOption: Flag = { type: 'boolean', help: 'signatures, SBOMs and provenance too' }

/** How a client differs from the usual one of the person. */
export interface ClientOptions {
  readonly insecure?: boolean
  /** Asked before anything else. */
  readonly credentials?: ((registry: string) => Credentials | undefined) | undefined
}

/** A client with the credentials and mirrors of the person, and the password of the embedded cluster's registry. */
export function openClient(env: NodeJS.ProcessEnv, options: ClientOptions = {}): RegistryClient {
  const files = embeddedFiles(resolveHomes(env))
  return createUserClient({
    env,
    credentials: (registry) => options.credentials?.(registry) ?? readClusterCredentials(files, registry),
    ...(options.insecure ? { isPlainHttp: () => true } : {}),
  })
}

/** The host of a registry, as typed. Throws FAIRLEAD_CLI_USAGE. */
export function parseRegistry(text: string): string {
  const host = text.replace(/^https?:\/\//, '').replace(/\/+$/, '')
  const named = host === 'index.docker.io' || host === 'registry-1.docker.io' ? 'docker.io' : host
  try {
    const { registry } = parseReference(`${named}/x`)
    if (registry === named) return registry
  } catch {
    // Told below, in the words of this command.
  }
  throw usage(`Cannot use "${text}" as a registry: it is no host name`, 'Write a host such as ghcr.io or docker.io')
}

/** Does a transfer as one step, which shows how many blobs are through, and how many bytes. */
export async function transfer<T extends TransferCounts>(
  steps: Steps,
  title: string,
  signal: AbortSignal,
  run: (onProgress: (event: TransferEvent) => void) => Promise<T>,
): Promise<T> {
  const step = steps.start(title)
  const blobs = new Map<string, TransferEvent>()
  let shown = ''
  const onProgress = (event: TransferEvent): void => {
    blobs.set(event.digest, event)
    const all = [...blobs.values()]
    const ended = all.filter(({ state }) => state !== 'started' && state !== 'moved').length
    const moved = all.reduce((sum, { movedBytes }) => sum + movedBytes, 0)
    const ofAll = all.reduce((sum, { sizeBytes }) => sum + sizeBytes, 0)
    // In tenths, so that a log gets a few lines and not thousands.
    const tenths = ofAll === 0 ? 10 : Math.floor((moved / ofAll) * 10)
    if (shown === `${ended}/${tenths}`) return
    shown = `${ended}/${tenths}`
    step.update(`${ended} of ${all.length} blobs, ${renderSize(moved)}`)
  }
  try {
    const done = await run(onProgress)
    step.done(renderCounts(done))
    return done
  } catch (error) {
    step.fail(signal.aborted ? 'interrupted' : 'failed')
    throw error
  }
}

/**
 * Pushes images of the local store below `prefix`, under the names they have here. One after another, so that layers
 * that they share are sent once and mounted for the others.
 */
export async function pushBuilt(
  references: readonly string[],
  prefix: string,
  { homes, steps, env, signal }: { homes: Homes; steps: Steps; env: NodeJS.ProcessEnv; signal: AbortSignal },
): Promise<PushedImage[]> {
  const layout = await openLayout(homes.images)
  const client = openClient(env)
  const pushed: PushedImage[] = []
  const mountFrom: string[] = []
  for (const reference of references) {
    const { repository, tag = 'latest' } = parseReference(reference)
    const target = `${prefix}/${repository}:${tag}`
    const { repository: there } = parseReference(target)
    const done = await transfer(steps, `push ${target}`, signal, (onProgress) =>
      pushImage(reference, target, { layout, client, mountFrom, signal, onProgress }),
    )
    pushed.push(done)
    mountFrom.unshift(there)
  }
  return pushed
}

/** What a transfer did, for the end of its step. */
function renderCounts({ blobs, movedBytes, referrers }: TransferCounts): string {
  const parts = [
    `${blobs.moved} ${blobs.moved === 1 ? 'blob' : 'blobs'} (${renderSize(movedBytes)})`,
    blobs.mounted > 0 ? `${blobs.mounted} mounted` : '',
    blobs.known > 0 ? `${blobs.known} there already` : '',
    referrers > 0 ? `${referrers} ${referrers === 1 ? 'referrer' : 'referrers'}` : '',
  ]
  return parts.filter((part) => part !== '').join(', ')
}
