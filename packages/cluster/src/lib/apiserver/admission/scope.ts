import type { KubeObject } from '@fairlead/kube/types'

import type { ApiRequest } from '../exchange.ts'
import { AdmissionNotes } from './attributes.ts'

const ofRequest = Symbol('admission')

/** A request keeps its scope itself: a weak map with a key per request is work for every collection of garbage. */
type Scoped = ApiRequest & { [ofRequest]?: AdmissionScope }

/** What admission has said about a request so far, whether it let it pass or not. */
export function notesOf(request: ApiRequest): AdmissionNotes | undefined {
  return (request as Scoped)[ofRequest]?.notes
}

/** One request towards admission: its options, and the warnings and annotations that admission leaves. */
export class AdmissionScope {
  readonly notes: AdmissionNotes = new AdmissionNotes()
  readonly #request: ApiRequest
  readonly #kind: string
  readonly #body: Record<string, unknown> | undefined

  /** `body` are options that came in the body, as those of a deletion do. */
  constructor(request: ApiRequest, kind: string, body?: Record<string, unknown>) {
    const scoped: Scoped = request
    scoped[ofRequest] = this
    this.#request = request
    this.#kind = kind
    this.#body = body
  }

  get isPatch(): boolean {
    return this.#kind === 'PatchOptions'
  }

  /** The options object, made when somebody asks: nearly nobody does. */
  get options(): KubeObject {
    const { query } = this.#request
    const options: Record<string, unknown> = { ...this.#body, kind: this.#kind, apiVersion: 'meta.k8s.io/v1' }
    for (const name of ['fieldManager', 'fieldValidation']) {
      const value = query.get(name) ?? ''
      if (value !== '') options[name] = value
    }
    const dryRun = query.getAll('dryRun').filter((value) => value !== '')
    if (dryRun.length > 0) options['dryRun'] = dryRun
    if (query.has('force')) options['force'] = query.get('force') === 'true'
    return options as KubeObject
  }
}
