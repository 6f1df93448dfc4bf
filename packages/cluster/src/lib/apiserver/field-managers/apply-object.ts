import { ApplyConflict, applyConfiguration, ApplyError } from '@fairlead/kube/patch'
import type { ManagedFieldsEntry, Owned, Writer } from '@fairlead/kube/patch'
import type { KubeObject } from '@fairlead/kube/types'

import { bodyKindOf, checkPatched } from '../body.ts'
import type { ApiRequest } from '../exchange.ts'
import { renderTime } from '../metadata.ts'
import { readConfiguration } from '../patch.ts'
import { AdmissionScope } from '../admission/scope.ts'
import type { Registry, UpdateOptions, WriteOptions, Written } from '../registry.ts'
import { checkName, isDryRun } from '../request-checks.ts'
import { idOf } from '../resource.ts'
import type { Resource } from '../resource.ts'
import { isTrue } from '../route.ts'
import type { ResourceRoute } from '../route.ts'
import { badRequest, conflict, StatusError } from '../status.ts'
import { applierOf } from './manager-name.ts'
import { mergeContextOf } from './merge-context.ts'

/** What applying a configuration has left behind. */
export interface AppliedObject {
  readonly written: Written
  readonly isNew: boolean
  readonly warnings: readonly string[]
}

const attempts = 3

/**
 * Applies the configuration in the body of a request to the object its URL names, which is made when it is not there.
 * `authorise` is asked before that.
 */
export async function applyObject(
  registry: Registry,
  route: ResourceRoute,
  request: ApiRequest,
  part: UpdateOptions['part'],
  authorise: (verb: string) => void,
): Promise<AppliedObject> {
  const { resource, namespace, name, subresource } = route
  const writer = applierOf(request, resource, subresource)
  const { config, warnings } = await readConfiguration(request)
  const apply = (live: KubeObject | undefined): Result => applyTo(live, { resource, writer, request, route, config })
  const { identity } = request
  const scope = new AdmissionScope(request, 'PatchOptions')
  const options = { namespace, identity, isDryRun: isDryRun(request.query), scope }
  for (let attempt = 1; ; attempt += 1) {
    if (subresource !== '' || registry.store.get(resource.collection, idOf(namespace, name)) !== undefined) {
      return await change(registry, resource, { ...options, name, part }, apply, warnings)
    }
    authorise('create')
    try {
      return await make(registry, resource, options, apply(undefined), [...warnings])
    } catch (error) {
      // Somebody else has made it meanwhile.
      if (!isAlreadyExists(error) || attempt === attempts) throw error
    }
  }
}

interface Result {
  readonly object: KubeObject
  readonly entries: ManagedFieldsEntry[] | undefined
  readonly warnings: readonly string[]
}

async function change(
  registry: Registry,
  resource: Resource,
  options: UpdateOptions,
  apply: (live: KubeObject) => Result,
  warnings: readonly string[],
): Promise<AppliedObject> {
  const ownership: { entries: ManagedFieldsEntry[] | undefined } = { entries: undefined }
  const found: string[] = [...warnings]
  const written = await registry.update(resource, { ...options, ownership }, (current) => {
    const result = apply(current)
    ownership.entries = result.entries
    found.push(...result.warnings)
    return result.object
  })
  return { written, isNew: false, warnings: found }
}

async function make(
  registry: Registry,
  resource: Resource,
  options: WriteOptions,
  { object, entries, warnings }: Result,
  found: string[],
): Promise<AppliedObject> {
  const { uid = '' } = object.metadata
  if (uid !== '') {
    const why = `uid mismatch: the provided object specified uid ${uid}, and no existing object was found`
    throw conflict(resource.info, object.metadata.name ?? '', why)
  }
  const written = await registry.create(resource, object, { ...options, ownership: { entries } })
  return { written, isNew: true, warnings: [...found, ...warnings] }
}

interface Application {
  readonly resource: Resource
  readonly writer: Writer
  readonly request: ApiRequest
  readonly route: ResourceRoute
  readonly config: unknown
}

/** Pure but for the clock: the configuration laid over an object. */
function applyTo(live: KubeObject | undefined, { resource, writer, request, route, config }: Application): Result {
  const { info } = resource
  const context = mergeContextOf(resource, writer.subresource)
  const configuration = {
    config,
    kind: info.kind,
    subject: `${route.namespace}/${route.name}`,
    isForced: isTrue(request.query.get('force')),
  }
  // The proof of the cast: an object of the API, as ownership sees it.
  const owned = live as Owned | undefined
  const applied = orStatus(() =>
    applyConfiguration(context, { writer, time: renderTime(Date.now()) }, owned, configuration),
  )
  const { managedFields: entries, ...metadata } = applied.metadata
  // What is left is checked as whatever else is written.
  const checked = checkPatched({ ...applied, metadata }, bodyKindOf(resource), request.query)
  checkName(resource, route, checked.object)
  checked.object.metadata.name ??= route.name
  return { object: checked.object, entries, warnings: checked.warnings }
}

/** Runs what may refuse a configuration; refusals become answers. */
export function orStatus<T>(apply: () => T): T {
  try {
    return apply()
  } catch (error) {
    if (error instanceof ApplyConflict) {
      throw new StatusError(409, 'Conflict', error.message, { details: { causes: error.causes } })
    }
    if (!(error instanceof ApplyError)) throw error
    throw error.status === 400 ? badRequest(error.message) : new StatusError(500, '', error.message)
  }
}

function isAlreadyExists(error: unknown): boolean {
  return error instanceof StatusError && error.status.reason === 'AlreadyExists'
}
