import { copyExactJson, parseExactJson, renderExactJson } from '@fairlead/kube/codec'
import type { KindInfo, KubeObject } from '@fairlead/kube/types'

import type { StoredForm } from '../resource.ts'
import { NeedsConversion, stampRevision } from '../resource.ts'
import { applyDefaults, dropNulls } from './defaulting.ts'
import { pruneResource } from './prune.ts'
import type { JsonObject, Schema } from './schema.ts'

/** Changes objects from one version of a definition to another. */
export type Converter =
  | { readonly strategy: 'None' }
  | {
      readonly strategy: 'Webhook'
      /** The objects in the version `apiVersion`, in the same order. Rejects with the `Status` clients are to see. */
      convert(objects: readonly KubeObject[], apiVersion: string): Promise<KubeObject[]>
    }

/**
 * How one version of a custom resource looks at what is stored: in the storage version of the time of writing, by the
 * schema of that time. Defaults that came later are filled in, fields that are known no more are left out. What was
 * found for some bytes is kept as long as they live.
 */
export class CustomForm implements StoredForm {
  readonly #storedAs: string
  readonly #info: KindInfo
  readonly #compiled: { readonly schema: Schema }
  readonly #convert: ((objects: readonly KubeObject[], apiVersion: string) => Promise<KubeObject[]>) | undefined
  readonly #verbatim = new WeakSet<Buffer>()
  readonly #converted = new WeakMap<Buffer, KubeObject>()
  /** What objects about to be written look like in the storage version, by their own text. */
  readonly #writable = new Map<string, KubeObject>()
  readonly prepare?: (bytes: readonly Buffer[]) => Promise<void>

  constructor(storedAs: string, info: KindInfo, compiled: { readonly schema: Schema }, converter: Converter) {
    this.#storedAs = storedAs
    this.#info = info
    this.#compiled = compiled
    if (converter.strategy === 'None') return
    this.#convert = (objects, apiVersion) => converter.convert(objects, apiVersion)
    this.prepare = (bytes) => this.#prepare(bytes)
  }

  isVerbatim({ bytes }: { readonly bytes: Buffer }): boolean {
    if (this.#verbatim.has(bytes)) return true
    if (this.#storedAs !== this.#info.apiVersion) return false
    const stored = parse(bytes)
    if (stored.apiVersion !== this.#info.apiVersion) return false
    const text = renderExactJson(stored)
    if (renderExactJson(this.#complete(stored)) !== text) return false
    this.#verbatim.add(bytes)
    return true
  }

  read(bytes: Buffer): KubeObject {
    const stored = parse(bytes)
    if (this.#verbatim.has(bytes) || stored.apiVersion === this.#info.apiVersion) return this.#complete(stored)
    if (this.#convert === undefined) {
      stored.apiVersion = this.#info.apiVersion
      return this.#complete(stored)
    }
    const converted = this.#converted.get(bytes)
    if (converted === undefined) throw new NeedsConversion(() => this.#prepare([bytes]))
    return copyExactJson(converted)
  }

  peek(bytes: Buffer): KubeObject {
    return parse(bytes)
  }

  ensureWritable(object: KubeObject): void {
    if (this.#convert === undefined || this.#storedAs === this.#info.apiVersion) return
    if (!this.#writable.has(textOf(object))) throw new NeedsConversion(() => this.#convertForWrite(object))
  }

  write(object: KubeObject, revision: number): Buffer {
    if (this.#storedAs === this.#info.apiVersion) {
      const bytes = stampRevision(object, revision)
      this.#verbatim.add(bytes)
      return bytes
    }
    const converted = this.#convert === undefined ? undefined : this.#writable.get(textOf(object))
    const bytes = stampRevision({ ...(converted ?? object), apiVersion: this.#storedAs }, revision)
    if (converted !== undefined) {
      this.#writable.delete(textOf(object))
      // Only what the webhook made of it was stamped.
      object.metadata.resourceVersion = String(revision)
      this.#converted.set(bytes, copyExactJson(object))
    }
    return bytes
  }

  async #prepare(bytes: readonly Buffer[]): Promise<void> {
    const missing = bytes.filter((each) => !this.#converted.has(each) && !this.#isOwn(each))
    if (missing.length === 0 || this.#convert === undefined) return
    const { apiVersion } = this.#info
    const converted = await this.#convert(missing.map(parse), apiVersion)
    for (const [index, each] of missing.entries()) {
      const object = converted[index]
      if (object !== undefined) this.#converted.set(each, this.#complete(object))
    }
  }

  #isOwn(bytes: Buffer): boolean {
    return this.#verbatim.has(bytes) || parse(bytes).apiVersion === this.#info.apiVersion
  }

  async #convertForWrite(object: KubeObject): Promise<void> {
    const text = textOf(object)
    const [converted] = (await this.#convert?.([copyExactJson(object)], this.#storedAs)) ?? []
    // Attempts that came to nothing leave theirs behind.
    if (this.#writable.size >= keptWrites) this.#writable.clear()
    if (converted !== undefined) this.#writable.set(text, converted)
  }

  #complete(object: KubeObject): KubeObject {
    const value: JsonObject = object
    const { schema } = this.#compiled
    pruneResource(value, schema)
    dropNulls(value, schema)
    applyDefaults(value, schema)
    return object
  }
}

const keptWrites = 1000

/** An object apart from the revision, which it gets last. */
function textOf(object: KubeObject): string {
  return renderExactJson({ ...object, metadata: { ...object.metadata, resourceVersion: undefined } })
}

function parse(bytes: Buffer): KubeObject {
  return parseExactJson(bytes.toString('utf8')) as KubeObject
}
