import { parseReference, renderReference } from '@fairlead/oci'
import type { Reference } from '@fairlead/oci'
import type { Layout, ResolvedImage } from '@fairlead/oci/layout'
import { createUserClient } from '@fairlead/oci/registry'
import type { DockerAuth, RegistryClient } from '@fairlead/oci/registry'
import type { AdmitImage } from '@fairlead/oci/sign'
import type { Container } from '@fairlead/kube/types/core-v1'

import { imageMissing } from '../errors.ts'
import { clientsFor, withClients } from './registry-clients.ts'
import type { OpenRegistryClient } from './registry-clients.ts'

/** Brings an image into the local content store, asking registries by `client`. */
export type PullImage = (
  reference: string,
  options: { readonly client: RegistryClient; readonly signal: AbortSignal },
) => Promise<void>

/** An image of the content store, ready to run. */
export interface FoundImage {
  readonly image: ResolvedImage
  /** `repository@digest`, what `imageID` shows. */
  readonly imageId: string
  readonly wasPresent: boolean
}

/** Why a container has no image yet; `reason` is what its status shows. */
export interface ImageTrouble {
  readonly reason: 'ErrImagePull' | 'ErrImageNeverPull' | 'InvalidImageName' | 'SignatureValidationFailed'
  readonly error: Error
  /** A registry was asked: it is to be left in peace for longer than the local store. */
  readonly wasAsked?: boolean | undefined
}

/** How images come to a node, and which of them it takes. */
export interface ImageSources {
  readonly layout: Layout
  readonly pull?: PullImage | undefined
  /** Talks to registries, also with credentials of a pod. Default: as the user of this process. */
  readonly openRegistryClient?: OpenRegistryClient | undefined
  /** Throws for an image that may not run; default: all may. */
  readonly admit?: AdmitImage | undefined
  /** Hosts, with port, of registries that serve this layout: their images are those under `localhost/`. */
  readonly ownRegistries?: (() => readonly string[]) | undefined
}

/** What a pod brings along for its images. */
export interface PrepareOptions {
  readonly signal: AbortSignal
  /** Its imagePullSecrets, read when a registry is to be asked. Default: none. */
  readonly auths?: (() => Promise<readonly DockerAuth[]>) | undefined
}

/** Asks registries for one image, as each of those it may be asked as until one is let in. */
type Ask = <T>(act: (client: RegistryClient) => Promise<T>) => Promise<T>

/** Finds the image of a container, and holds it against the policy of the node. */
export async function prepareImage(
  container: Container,
  sources: ImageSources,
  { signal, auths }: PrepareOptions,
): Promise<FoundImage | ImageTrouble> {
  const { admit, ownRegistries, openRegistryClient = openUserClient } = sources
  const reference = toLocal(container.image ?? '', ownRegistries?.() ?? [])
  const ask: Ask = async (act) =>
    withClients(clientsFor(reference, (await auths?.()) ?? [], openRegistryClient), signal, act)
  const found = await findImage(reference, container.imagePullPolicy, sources, ask, signal)
  if ('reason' in found || !admit) return found
  const { digest } = found.image.descriptor
  try {
    if (isOfThisMachine(reference)) await admit(reference, digest, { signal })
    else await ask((client) => admit(reference, digest, { client, signal }))
    return found
  } catch (error) {
    return {
      reason: 'SignatureValidationFailed',
      error: asError(error),
      wasAsked: !found.imageId.startsWith('localhost/'),
    }
  }
}

const openUserClient: OpenRegistryClient = (credentials) => createUserClient({ credentials })

/** Images under `localhost/` exist on this machine or not at all. */
function isOfThisMachine(reference: string): boolean {
  return parseReference(reference).registry === 'localhost'
}

/**
 * The reference under which the layout holds an image that is named after a registry serving the layout. One image has
 * one name from here on, so that a policy for the one holds for the other.
 */
function toLocal(reference: string, ownRegistries: readonly string[]): string {
  const name = readName(reference)
  if (name instanceof Error || !ownRegistries.includes(name.registry)) return reference
  return renderReference({ ...name, registry: 'localhost' })
}

/**
 * Finds the image of a container: in the local content store, else by `pull` where the policy allows. "Always" asks the
 * registry first; one that cannot be reached at all is no reason to stop what ran here before.
 */
async function findImage(
  reference: string,
  policy: Container['imagePullPolicy'],
  { layout, pull }: ImageSources,
  ask: Ask,
  signal: AbortSignal,
): Promise<FoundImage | ImageTrouble> {
  const name = readName(reference)
  if (name instanceof Error) return { reason: 'InvalidImageName', error: name }
  let present: ResolvedImage | undefined
  try {
    present = await layout.resolve(reference)
  } catch (error) {
    return { reason: 'ErrImagePull', error: asError(error) }
  }
  const canPull = pull !== undefined && name.registry !== 'localhost'
  if (present && (policy !== 'Always' || !canPull)) return found(reference, present, true)
  if (policy === 'Never') {
    return { reason: 'ErrImageNeverPull', error: missing(reference, 'and its pull policy is Never') }
  }
  if (!canPull) return { reason: 'ErrImagePull', error: missing(reference, '') }
  try {
    await ask((client) => pull(reference, { client, signal }))
    const pulled = await layout.resolve(reference)
    if (pulled) return found(reference, pulled, false)
    throw new Error('the pull ended without it')
  } catch (error) {
    if (present && isUnreachable(error)) return found(reference, present, true)
    return { reason: 'ErrImagePull', error: pullFailed(reference, present !== undefined, error), wasAsked: true }
  }
}

function isUnreachable(error: unknown): boolean {
  return (error as { code?: unknown }).code === 'FAIRLEAD_OCI_REGISTRY_UNREACHABLE'
}

function pullFailed(reference: string, isPresent: boolean, error: unknown): Error {
  const said = asError(error).message
  if (!isPresent) return missing(reference, `and pulling it failed: ${said}`, error)
  const hint = 'Set imagePullPolicy to IfNotPresent to run what is here.'
  return imageMissing(reference, `its pull policy is Always, and pulling it failed: ${said}. ${hint}`, hint, error)
}

function asError(error: unknown): Error {
  return error instanceof Error ? error : new Error(String(error))
}

function readName(reference: string): Reference | Error {
  try {
    return parseReference(reference)
  } catch (error) {
    return asError(error)
  }
}

function found(reference: string, image: ResolvedImage, wasPresent: boolean): FoundImage {
  const { registry, repository } = parseReference(reference)
  const { digest } = image.descriptor
  return { image, imageId: renderReference({ registry, repository, digest }), wasPresent }
}

function missing(reference: string, state: string, cause?: unknown): Error {
  const hint = 'Build it with "fairlead build", or correct the name.'
  const whole = `it is not in the local image store${state === '' ? '' : `, ${state}`}. ${hint}`
  return imageMissing(reference, whole, hint, cause)
}
