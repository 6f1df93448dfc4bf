import type { KindInfo, KubeObject } from '@fairlead/kube/types'

import type { StoredForm } from '../resource.ts'
import { stampRevision } from '../resource.ts'
import { internalError } from '../status.ts'
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
  readonly #schema: Schema
  readonly #converter: Converter
  readonly #verbatim = new WeakSet<Buffer>()
  readonly #converted = new WeakMap<Buffer, KubeObject>()

  constructor(storedAs: string, info: KindInfo, schema: Schema, converter: Converter) {
    this.#storedAs = storedAs
    this.#info = info
    this.#schema = schema
    this.#converter = converter
  }

  isVerbatim(bytes: Buffer): boolean {
    if (this.#verbatim.has(bytes)) return true
    if (this.#storedAs !== this.#info.apiVersion) return false
    const stored = parse(bytes)
    if (stored.apiVersion !== this.#info.apiVersion) return false
    const text = JSON.stringify(stored)
    if (JSON.stringify(this.#complete(stored)) !== text) return false
    this.#verbatim.add(bytes)
    return true
  }

  read(bytes: Buffer): KubeObject {
    const stored = parse(bytes)
    if (this.#verbatim.has(bytes) || stored.apiVersion === this.#info.apiVersion) return this.#complete(stored)
    if (this.#converter.strategy === 'None') {
      stored.apiVersion = this.#info.apiVersion
      return this.#complete(stored)
    }
    const converted = this.#converted.get(bytes)
    if (converted === undefined) throw internalError(`object is not converted to ${this.#info.apiVersion} yet`)
    return JSON.parse(JSON.stringify(converted)) as KubeObject
  }

  write(object: KubeObject, revision: number): Buffer {
    if (object.apiVersion === this.#storedAs && this.#storedAs === this.#info.apiVersion) {
      const bytes = stampRevision(object, revision)
      this.#verbatim.add(bytes)
      return bytes
    }
    return stampRevision({ ...object, apiVersion: this.#storedAs }, revision)
  }

  #complete(object: KubeObject): KubeObject {
    const value: JsonObject = object
    pruneResource(value, this.#schema)
    dropNulls(value, this.#schema)
    applyDefaults(value, this.#schema)
    return object
  }
}

function parse(bytes: Buffer): KubeObject {
  return JSON.parse(bytes.toString('utf8')) as KubeObject
}
