import type { KubeObject } from '@fairlead/kube/types'
import type { Pod } from '@fairlead/kube/types/core-v1'

import { routeAttributes } from './access/request-attributes.ts'
import { waitForAccount } from './access/wait-for-account.ts'
import { AdmissionScope } from './admission/scope.ts'
import { bodyKindOf, checkPatched, readObjectBody, readOptions } from './body.ts'
import { parseDeletion } from './deletion.ts'
import type { ApiRequest, ApiResponse } from './exchange.ts'
import { applyObject } from './field-managers/apply-object.ts'
import { writerOf } from './field-managers/manager-name.ts'
import type { HandlerContext } from './handler-context.ts'
import { parseRevision } from './list-options.ts'
import { reachRevision, respondList, selectAll, serveList } from './list.ts'
import { negotiate, negotiateError } from './negotiate.ts'
import type { Format } from './negotiate.ts'
import { isApplyPatch, readPatch } from './patch.ts'
import type { UpdateOptions } from './registry.ts'
import { respond, respondObject } from './render.ts'
import { checkName, isDryRun } from './request-checks.ts'
import { readObject } from './resource.ts'
import type { Resource } from './resource.ts'
import { respondWritten } from './respond-written.ts'
import type { ResourceRoute } from './route.ts'
import { parseSelection } from './selection.ts'
import { badRequest, StatusError, success } from './status.ts'
import { serveWatch } from './watch.ts'

/** The verbs of objects and collections. */
export function serveObject(
  context: HandlerContext,
  resource: Resource,
  route: ResourceRoute,
  request: ApiRequest,
): Promise<ApiResponse> {
  const { store } = context
  if (route.verb === 'watch') {
    const { fanOut, metrics, onError } = context
    const about = { store, fanOut, onError, counted: metrics.watchesOf(resource) }
    return serveWatch(about, resource, route, request)
  }
  const format = negotiate(request, resource)
  switch (route.verb) {
    case 'get':
      return serveGet(context, resource, route, request, format)
    case 'list':
      return serveList(store, resource, route, request, format)
    case 'create':
      return serveCreate(context, resource, route, request)
    case 'update':
    case 'patch':
      return serveWrite(context, resource, route, request, 'object')
    case 'delete':
      return serveDelete(context, resource, route, request)
    case 'deletecollection':
      return serveDeleteCollection(context, resource, route, request)
  }
}

async function serveGet(
  { store, registry }: HandlerContext,
  resource: Resource,
  route: ResourceRoute,
  request: ApiRequest,
  format: Format,
): Promise<ApiResponse> {
  const wanted = parseRevision(request.query.get('resourceVersion')) ?? 0
  if (wanted > store.revision) await reachRevision(store, wanted, request.signal)
  const entry = registry.read(resource, route.namespace, route.name)
  if (resource.form.prepare !== undefined) await resource.form.prepare([entry.bytes])
  return respondObject(200, resource, entry, format)
}

async function serveCreate(
  context: HandlerContext,
  resource: Resource,
  route: ResourceRoute,
  request: ApiRequest,
): Promise<ApiResponse> {
  const { object, warnings } = await readObjectBody(request, bodyKindOf(resource))
  const namespace = namespaceOf(resource, route, object)
  const ownership = { writer: writerOf(request, resource) }
  const scope = new AdmissionScope(request, 'CreateOptions')
  const { resourceVersion = '' } = object.metadata
  const isVersioned = resourceVersion !== '' && resourceVersion !== '0'
  const { identity, query } = request
  const options = { namespace, identity, ownership, isDryRun: isDryRun(query), isVersioned, scope }
  if (context.serviceAccounts && resource.collection === 'pods') {
    const { serviceAccountName } = (object as KubeObject & Pod).spec ?? {}
    const account = `${namespace}/${serviceAccountName || 'default'}`
    if (context.store.get('serviceaccounts', account) === undefined) await waitForAccount(context.store, account)
  }
  const written = await context.registry.create(resource, object, options)
  return respondWritten(201, resource, written, request, warnings)
}

/** Update and patch of an object or a part of it. */
export async function serveWrite(
  context: HandlerContext,
  resource: Resource,
  route: ResourceRoute,
  request: ApiRequest,
  part: UpdateOptions['part'],
): Promise<ApiResponse> {
  const { namespace, name } = route
  if (isApplyPatch(request)) {
    const authorise = (verb: string): void => {
      context.access.authorizer.check(request.identity, { ...routeAttributes(route, request.query), verb })
    }
    const applied = await applyObject(context.registry, route, request, part, authorise)
    return respondWritten(applied.isNew ? 201 : 200, resource, applied.written, request, applied.warnings)
  }
  const ownership = { writer: writerOf(request, resource, route.subresource) }
  const scope = new AdmissionScope(request, route.verb === 'update' ? 'UpdateOptions' : 'PatchOptions')
  const { identity } = request
  // The body of an update is an object of its own, and patches copy what they are applied to.
  const asked = { namespace, name, part, isDetached: true, isDryRun: isDryRun(request.query) }
  const options = { ...asked, identity, ownership, scope }
  const warnings: string[] = []
  if (route.verb === 'update') {
    const decoded = await readObjectBody(request, bodyKindOf(resource))
    checkName(resource, route, decoded.object)
    const written = await context.registry.update(resource, options, () => decoded.object)
    return respondWritten(200, resource, written, request, decoded.warnings)
  }
  const patch = await readPatch(request, bodyKindOf(resource))
  const written = await context.registry.update(resource, options, (current) => {
    const checked = checkPatched(patch.apply(current), bodyKindOf(resource), request.query, patch)
    warnings.push(...checked.warnings)
    checkName(resource, route, checked.object)
    return checked.object
  })
  return respondWritten(200, resource, written, request, warnings)
}

async function serveDelete(
  context: HandlerContext,
  resource: Resource,
  route: ResourceRoute,
  request: ApiRequest,
): Promise<ApiResponse> {
  const { namespace, name } = route
  const options = await readOptions(request)
  const scope = new AdmissionScope(request, 'DeleteOptions', options)
  const deletion = { ...parseDeletion(options, request.query), scope }
  const written = await context.registry.delete(resource, namespace, name, deletion, request.identity)
  // A graceful deletion answers with the object that is still there.
  if (!written.isGone) return respondWritten(200, resource, written, request, [])
  return respond(200, success(resource.info, name, parse(written.stored.bytes).metadata.uid), negotiateError(request))
}

async function serveDeleteCollection(
  context: HandlerContext,
  resource: Resource,
  route: ResourceRoute,
  request: ApiRequest,
): Promise<ApiResponse> {
  const format = negotiate(request, resource)
  const options = await readOptions(request)
  const scope = new AdmissionScope(request, 'DeleteOptions', options)
  const deletion = { ...parseDeletion(options, request.query), scope }
  const entries = await selectAll(context.store, resource, parseSelection(resource, route, request.query))
  for (const entry of entries) {
    const { namespace = '', name = '' } = readObject(resource, entry).metadata
    await ignoreMissing(context.registry.delete(resource, namespace, name, deletion, request.identity))
  }
  return await respondList(resource, entries, { resourceVersion: String(context.store.revision) }, format)
}

function namespaceOf(resource: Resource, route: ResourceRoute, object: KubeObject): string {
  const sent = object.metadata.namespace ?? ''
  if (!resource.info.namespaced) return ''
  if (route.namespace === '') throw badRequest('an empty namespace may not be set during creation')
  if (sent !== '' && sent !== route.namespace) {
    throw badRequest('the namespace of the provided object does not match the namespace sent on the request')
  }
  return route.namespace
}

async function ignoreMissing(deletion: Promise<unknown>): Promise<void> {
  try {
    await deletion
  } catch (error) {
    if (!(error instanceof StatusError) || error.status.code !== 404) throw error
  }
}

function parse(bytes: Buffer): KubeObject {
  return JSON.parse(bytes.toString('utf8')) as KubeObject
}
