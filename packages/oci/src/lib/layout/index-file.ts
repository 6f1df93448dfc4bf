import { readFileSync, statSync } from 'node:fs'
import { mkdir } from 'node:fs/promises'
import { join } from 'node:path'

import { layoutInvalid } from '../errors.ts'
import { renderCanonicalJson } from '../spec/canonical.ts'
import type { Descriptor, ImageIndex } from '../spec/image.ts'
import { mediaTypes } from '../spec/media-types.ts'
import { withLock } from './lock.ts'
import { writeWhole } from './whole-file.ts'

/** What the entries of `index.json` become; may throw, which changes nothing. */
export type IndexEdit = (manifests: readonly Descriptor[]) => readonly Descriptor[]

interface Waiting {
  edit: IndexEdit
  done: () => void
  failed: (error: unknown) => void
}

/**
 * `index.json` of a layout, shared with other processes. Reading costs one `stat` while nothing changed; edits that
 * arrive while one is being written are written together.
 */
export class IndexFile {
  readonly #dir: string
  readonly #path: string
  readonly #ingestDir: string
  #known: { stamp: string; index: ImageIndex } | undefined
  #waiting: Waiting[] = []
  #isWriting = false

  constructor(dir: string) {
    this.#dir = dir
    this.#path = join(dir, 'index.json')
    this.#ingestDir = join(dir, '.ingest')
  }

  /** The current content: the same object for as long as the file is the same. */
  read(): ImageIndex {
    const stamp = stampOf(this.#path)
    if (stamp === undefined) return { schemaVersion: 2, manifests: [] }
    if (this.#known?.stamp !== stamp) this.#known = { stamp, index: this.#parse(readFileSync(this.#path, 'utf8')) }
    return this.#known.index
  }

  /** Applies the edit under the lock of the layout; resolves when it is on the disk. */
  change(edit: IndexEdit): Promise<void> {
    const { promise, resolve: done, reject: failed } = Promise.withResolvers<void>()
    this.#waiting.push({ edit, done, failed })
    if (!this.#isWriting) void this.#write()
    return promise
  }

  async #write(): Promise<void> {
    this.#isWriting = true
    while (this.#waiting.length > 0) {
      let batch: Waiting[] = []
      const applied: Waiting[] = []
      try {
        await mkdir(this.#ingestDir, { recursive: true })
        await withLock(join(this.#ingestDir, 'index.lock'), async () => {
          batch = this.#waiting
          this.#waiting = []
          const index = this.read()
          let manifests: readonly Descriptor[] = index.manifests
          for (const entry of batch) {
            try {
              manifests = entry.edit(manifests)
              applied.push(entry)
            } catch (error) {
              entry.failed(error)
            }
          }
          const isNew = stampOf(this.#path) === undefined
          if (manifests !== index.manifests || isNew) await this.#replace({ ...index, manifests })
        })
        for (const { done } of applied) done()
      } catch (error) {
        // The lock was not to be had, or the disk is full: whoever waits now would fail for the same reason.
        for (const { failed } of [...batch, ...this.#waiting.splice(0)]) failed(error)
      }
    }
    this.#isWriting = false
  }

  async #replace(index: ImageIndex): Promise<void> {
    const text = renderCanonicalJson({ ...index, schemaVersion: 2, mediaType: mediaTypes.index })
    await writeWhole(this.#ingestDir, async (file) => {
      await file.writeFile(text)
      return this.#path
    })
  }

  #parse(text: string): ImageIndex {
    let index: Partial<ImageIndex> | undefined
    try {
      index = JSON.parse(text) as Partial<ImageIndex> | undefined
    } catch {
      index = undefined
    }
    if (!Array.isArray(index?.manifests)) throw layoutInvalid(this.#dir, 'its "index.json" is no image index')
    return index as ImageIndex
  }
}

/** Every change is a new file, so number, time and size together tell one from another. */
function stampOf(path: string): string | undefined {
  const found = statSync(path, { bigint: true, throwIfNoEntry: false })
  return found && `${found.ino} ${found.mtimeNs} ${found.ctimeNs} ${found.size}`
}
