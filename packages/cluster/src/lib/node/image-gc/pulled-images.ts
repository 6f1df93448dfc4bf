import { mkdir, readFile } from 'node:fs/promises'
import { dirname } from 'node:path'
import type { Digest } from '@fairlead/oci'

import { replaceFile } from '../replace-file.ts'

/** The name of the file of {@link PulledImages}. */
export const pulledFile = 'pulled-images.json'

/** An image that was brought here for a pod. Times in milliseconds since 1970. */
export interface PulledImage {
  readonly reference: string
  readonly digest: Digest
  readonly pulledAt: number
  /** When a pod needed it last. */
  readonly usedAt: number
}

/**
 * Which images the nodes of a cluster have brought into the store of the machine, kept in a file. The others were put there
 * by somebody who may want them yet.
 */
export class PulledImages {
  readonly #file: string
  readonly #known: Map<string, PulledImage>

  private constructor(file: string, known: readonly PulledImage[]) {
    this.#file = file
    this.#known = new Map(known.map((image) => [image.reference, image]))
  }

  static async open(file: string): Promise<PulledImages> {
    return new PulledImages(file, await readImages(file))
  }

  get all(): readonly PulledImage[] {
    return [...this.#known.values()]
  }

  has(reference: string): boolean {
    return this.#known.has(reference)
  }

  /** Notes these, in place of what is known of them, and forgets the references in `gone`. */
  async change(noted: readonly PulledImage[], gone: readonly string[] = []): Promise<void> {
    for (const image of noted) this.#known.set(image.reference, image)
    for (const reference of gone) this.#known.delete(reference)
    await mkdir(dirname(this.#file), { recursive: true })
    await replaceFile(this.#file, JSON.stringify(this.all))
  }
}

/** Without the file nothing is known to be ours, and all stays. */
async function readImages(file: string): Promise<readonly PulledImage[]> {
  try {
    // Ours, and written whole.
    return JSON.parse(await readFile(file, 'utf8')) as PulledImage[]
  } catch {
    return []
  }
}
