import { parseReference, renderReference } from '@fairlead/oci'
import type { Reference } from '@fairlead/oci'
import type { Layout, ResolvedImage } from '@fairlead/oci/layout'
import type { AdmitImage } from '@fairlead/oci/sign'
import type { Container } from '@fairlead/kube/types/core-v1'

import { imageMissing } from '../errors.ts'

/** Brings an image into the local content store. */
export type PullImage = (reference: string, options: { readonly signal: AbortSignal }) => Promise<void>

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
  /** Throws for an image that may not run; default: all may. */
  readonly admit?: AdmitImage | undefined
  /** Hosts, with port, of registries that serve this layout: their images are those under `localhost/`. */
  readonly ownRegistries?: (() => readonly string[]) | undefined
}

/** Finds the image of a container, and holds it against the policy of the node. */
export async function prepareImage(
  container: Container,
  { layout, pull, admit, ownRegistries }: ImageSources,
  signal: AbortSignal,
): Promise<FoundImage | ImageTrouble> {
  const reference = toLocal(container.image ?? '', ownRegistries?.() ?? [])
  const found = await findImage(reference, container.imagePullPolicy, layout, pull, signal)
  if ('reason' in found || !admit) return found
  try {
    await admit(reference, found.image.descriptor.digest, signal)
    return found
  } catch (error) {
    const refusal = error instanceof Error ? error : new Error(String(error))
    return { reason: 'SignatureValidationFailed', error: refusal, wasAsked: !found.imageId.startsWith('localhost/') }
  }
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
 * Finds the image of a container: in the local content store, else by `pull` where the policy allows. Images under
 * `localhost/` are never pulled: they exist on this machine or not at all.
 */
async function findImage(
  reference: string,
  policy: Container['imagePullPolicy'],
  layout: Layout,
  pull: PullImage | undefined,
  signal: AbortSignal,
): Promise<FoundImage | ImageTrouble> {
  const name = readName(reference)
  if (name instanceof Error) return { reason: 'InvalidImageName', error: name }
  const isLocal = name.registry === 'localhost'
  try {
    const present = await layout.resolve(reference)
    // "Always" asks the registry first; without one that answers, what is here is better than nothing.
    if (present) return found(reference, present, true)
    if (policy === 'Never')
      return { reason: 'ErrImageNeverPull', error: missing(reference, 'and its pull policy is Never') }
    if (isLocal || !pull) return { reason: 'ErrImagePull', error: missing(reference, '') }
  } catch (error) {
    return { reason: 'ErrImagePull', error: error instanceof Error ? error : new Error(String(error)) }
  }
  try {
    await pull(reference, { signal })
    const pulled = await layout.resolve(reference)
    if (pulled) return found(reference, pulled, false)
    throw new Error('the pull ended without it')
  } catch (error) {
    const state = `and pulling it failed: ${error instanceof Error ? error.message : String(error)}`
    return { reason: 'ErrImagePull', error: missing(reference, state, error), wasAsked: true }
  }
}

function readName(reference: string): Reference | Error {
  try {
    return parseReference(reference)
  } catch (error) {
    return error instanceof Error ? error : new Error(String(error))
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
