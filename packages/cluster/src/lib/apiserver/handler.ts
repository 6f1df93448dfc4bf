import type { KubeObject } from '@fairlead/kube/types'
import type { Pod, Service } from '@fairlead/kube/types/core-v1'

import { codeOf } from '../errors.ts'
import type { Store } from '../storage/store.ts'
import type { Access } from './access/access.ts'
import { routeAttributes, unroutedAttributes } from './access/request-attributes.ts'
import { answerReview } from './access/reviews.ts'
import type { WriteGuard } from './access/write-guard.ts'
import { waitForAccount } from './access/wait-for-account.ts'
import { serveIssuer } from './access/tokens/discovery.ts'
import { backupPath, serveBackup } from './backup.ts'
import { bodyKindOf, checkPatched, readObjectBody, readOptions } from './body.ts'
import type { Catalogue } from './catalogue.ts'
import { serveComponentStatuses } from './component-status.ts'
import type { Component } from './component-status.ts'
import { parseDeletion } from './deletion.ts'
import { withDeprecation } from './deprecation.ts'
import { writerOf } from './field-managers/manager-name.ts'
import { changeScale } from './field-managers/scale.ts'
import { applyObject } from './field-managers/apply-object.ts'
import { serveDiscovery } from './discovery.ts'
import type { ApiRequest, ApiResponse } from './exchange.ts'
import { parseRevision } from './list-options.ts'
import { reachRevision, respondList, selectAll, serveList } from './list.ts'
import { renderMetrics } from './metrics/render.ts'
import type { Measured, RequestMetrics } from './metrics/request-metrics.ts'
import { serveMetrics } from './metrics/serve.ts'
import { negotiate, negotiateAnswer, negotiateError } from './negotiate.ts'
import type { Asked } from './negotiate.ts'
import { serveOpenApi } from './openapi.ts'
import type { OpenApi } from './openapi/document.ts'
import { isApplyPatch, readPatch } from './patch.ts'
import { servePodLog } from './pod-log.ts'
import type { Kubelet } from './kubelet.ts'
import { evictPod } from './eviction.ts'
import type { FanOut } from './fan-out.ts'
import { bindPod } from './pods.ts'
import type { AdmittedRegistry } from './admission/admitted-registry.ts'
import type { UpdateOptions, Written } from './registry.ts'
import { respond, respondObject } from './render.ts'
import { readObject } from './resource.ts'
import type { Resource } from './resource.ts'
import { parseRoute } from './route.ts'
import type { ResourceRoute } from './route.ts'
import { toScale } from './scale.ts'
import { parseSelection } from './selection.ts'
import { checkName, isDryRun } from './request-checks.ts'
import type { ApiServices } from './aggregation/api-services.ts'
import { AdmissionScope, notesOf } from './admission/scope.ts'
import { admitBinding, admitConnection, admitCreated } from './admission/subresources.ts'
import { badRequest, internalError, methodNotAllowed, pathNotFound, StatusError, success } from './status.ts'
import { serveNode, slicesOf } from './proxy/sources.ts'
import { serveProxy } from './proxy/serve.ts'
import { parseProxyName, podTarget, serviceTarget } from './proxy/target.ts'
import { serveCommand, servePortForward } from './streaming/serve.ts'
import { versionInfo } from './version.ts'
import { serveWatch } from './watch.ts'

/** What the handler stands on. */
export interface HandlerContext {
  readonly store: Store
  readonly fanOut: FanOut
  readonly registry: AdmittedRegistry
  readonly access: Access
  readonly guard: WriteGuard
  /** Whether pods are of service accounts that must be there. */
  readonly serviceAccounts: boolean
  readonly catalogue: Catalogue
  readonly openApi: OpenApi
  readonly apiServices: ApiServices
  readonly metrics: RequestMetrics
  /** What runs beside the server, for `kubectl get componentstatuses`. */
  readonly components: readonly Component[]
  readonly findKubelet: (nodeName: string) => Promise<Kubelet>
  /** Told of errors that are no answer but a fault of ours. */
  readonly onError: (error: unknown) => void
}

/** Answers one request. Whatever goes wrong becomes a `Status`. */
export async function handle(context: HandlerContext, request: ApiRequest): Promise<ApiResponse> {
  const measured = context.metrics.begin(request)
  return context.metrics.end(measured, request, await answerTo(context, request, measured))
}

async function answerTo(context: HandlerContext, request: ApiRequest, measured: Measured): Promise<ApiResponse> {
  try {
    return await dispatch(context, request, measured)
  } catch (error) {
    const answer = renderError(error, context.onError, request)
    const warnings = notesOf(request)?.warnings ?? []
    return warnings.length === 0 ? answer : { ...answer, headers: { ...answer.headers, ...warningHeader(warnings) } }
  }
}

/** The `Status` answer for an error, in JSON when it is not known what the client wants. */
export function renderError(error: unknown, onError: (error: unknown) => void, request?: Asked): ApiResponse {
  const failure = toStatusError(error, onError)
  const format = request === undefined ? undefined : negotiateError(request)
  const answer = respond(failure.status.code, failure.status, format)
  return { ...answer, headers: { ...answer.headers, ...failure.headers } }
}

function toStatusError(error: unknown, onError: (error: unknown) => void): StatusError {
  if (error instanceof StatusError) return error
  const code = codeOf(error) ?? ''
  const message = error instanceof Error ? error.message : String(error)
  // Said in full: whoever runs the cluster can do something about it.
  if (code.startsWith('FAIRLEAD_CLUSTER_STORAGE_')) return internalError(`${message} (${code})`)
  onError(error)
  return internalError(message)
}

async function dispatch(context: HandlerContext, request: ApiRequest, measured: Measured): Promise<ApiResponse> {
  const { method, path, query, identity } = request
  const route = /^\/apis?\//.test(path) ? parseRoute(context.catalogue, method, path, query) : undefined
  if (route === undefined) return (await serveRemote(context, request)) ?? (await servePath(context, request))
  measured.route = route
  context.access.authorizer.check(identity, routeAttributes(route, query))
  return withDeprecation(route.info, await serveRoute(context, route, request))
}

function serveRoute(context: HandlerContext, route: ResourceRoute, request: ApiRequest): Promise<ApiResponse> {
  const { resource, info } = route
  if (info.kind === 'ComponentStatus' && info.group === '') {
    return serveComponentStatuses(context.components, resource, route, request)
  }
  if (!info.verbs.includes('watch')) return serveReview(context, resource, route, request)
  return route.subresource === ''
    ? serveObject(context, resource, route, request)
    : serveSubresource(context, resource, route, request)
}

/** What another server answers for goes there, once it is clear that who asks may ask. */
async function serveRemote(context: HandlerContext, request: ApiRequest): Promise<ApiResponse | undefined> {
  const { method, path, identity } = request
  const answer = context.apiServices.find(path)
  if (answer === undefined) return undefined
  context.access.authorizer.check(identity, unroutedAttributes(method, path))
  return await answer(request)
}

async function servePath(context: HandlerContext, request: ApiRequest): Promise<ApiResponse> {
  const { method, path, identity } = request
  context.access.authorizer.check(identity, unroutedAttributes(method, path))
  if (method !== 'GET' && method !== 'HEAD') throw isBelowVersion(path) ? pathNotFound() : methodNotAllowed()
  if (/^\/apis?(\/|$)/.test(path)) return serveDiscovery(context.catalogue, request)
  if (path === '/version' || path === '/version/')
    return respond(200, versionInfo, { encoding: 'json', isPretty: true })
  const issuer = serveIssuer(path, context.access.issuer, context.access.key)
  if (issuer !== undefined) return issuer
  if (path === '/metrics') {
    return await serveMetrics(() => renderMetrics(context.metrics, context.store, context.catalogue))
  }
  if (path === backupPath) return serveBackup(context.store)
  if (path.startsWith('/openapi/')) return await serveOpenApi(context.openApi, context.apiServices, request)
  if (/^\/(healthz|livez|readyz)(\/|$)/.test(path)) return serveHealth(request)
  if (path === '/')
    return respond(200, {
      paths: ['/api', '/apis', '/healthz', '/livez', '/metrics', '/openapi/v3', '/readyz', '/version'],
    })
  throw pathNotFound()
}

/** Whether a path names something below a version of a group, where only resources are. */
function isBelowVersion(path: string): boolean {
  return /^\/(api|apis\/[^/]+)\/[^/]+\/[^/]/.test(path)
}

/** Whoever gets this answer has reached a server that has recovered its store: both checks have passed. */
function serveHealth({ path, query }: ApiRequest): ApiResponse {
  const [, root = '', check] = path.split('/')
  if (check !== undefined && check !== '' && !checks.includes(check)) throw pathNotFound()
  const verbose = [...checks.map((name) => `[+]${name} ok`), `${root} check passed`, ''].join('\n')
  const text = query.has('verbose') ? verbose : 'ok'
  return {
    status: 200,
    headers: { 'content-type': 'text/plain; charset=utf-8' },
    body: { pieces: [Buffer.from(text)] },
  }
}

const checks = ['ping', 'storage']

async function serveObject(
  context: HandlerContext,
  resource: Resource,
  route: ResourceRoute,
  request: ApiRequest,
): Promise<ApiResponse> {
  const { store } = context
  if (route.verb === 'watch') {
    const { fanOut, metrics, onError } = context
    const about = { store, fanOut, onError, counted: metrics.watchesOf(resource) }
    return await serveWatch(about, resource, route, request)
  }
  const format = negotiate(request, resource)
  switch (route.verb) {
    case 'get': {
      const wanted = parseRevision(request.query.get('resourceVersion')) ?? 0
      if (wanted > store.revision) await reachRevision(store, wanted, request.signal)
      const entry = context.registry.read(resource, route.namespace, route.name)
      if (resource.form.prepare !== undefined) await resource.form.prepare([entry.bytes])
      return respondObject(200, resource, entry, format)
    }
    case 'list':
      return await serveList(store, resource, route, request, format)
    case 'create':
      return await serveCreate(context, resource, route, request)
    case 'update':
    case 'patch':
      return await serveWrite(context, resource, route, request, 'object')
    case 'delete':
      return await serveDelete(context, resource, route, request)
    case 'deletecollection':
      return await serveDeleteCollection(context, resource, route, request)
  }
}

async function serveSubresource(
  context: HandlerContext,
  resource: Resource,
  route: ResourceRoute,
  request: ApiRequest,
): Promise<ApiResponse> {
  const { subresource, verb, namespace, name } = route
  if (subresource === 'scale') return await serveScale(context, resource, route, request)
  if (subresource === 'log' && verb === 'get') {
    const pod = readObject(resource, context.registry.read(resource, namespace, name)) as KubeObject & Pod
    return await servePodLog(pod, request, context.findKubelet)
  }
  if (subresource === 'proxy') return await serveProxied(context, route, request)
  if (streams.has(subresource)) return await serveStreams(context, route, request)
  if (subresource === 'token' && verb === 'create') return await serveTokenRequest(context, route, request)
  if (subresource === 'binding' && verb === 'create') return await serveBinding(context, route, request)
  if (subresource === 'eviction' && verb === 'create') return await serveEviction(context, resource, route, request)
  if (verb === 'get') {
    const entry = context.registry.read(resource, namespace, name)
    await resource.form.prepare?.([entry.bytes])
    return respondObject(200, resource, entry, negotiate(request, resource))
  }
  if (verb !== 'update' && verb !== 'patch') throw methodNotAllowed()
  if (subresource === 'status') return await serveWrite(context, resource, route, request, 'status')
  if (subresource === 'ephemeralcontainers')
    return await serveWrite(context, resource, route, request, 'ephemeralcontainers')
  if (subresource === 'resize') return await serveWrite(context, resource, route, request, 'resize')
  if (subresource === 'approval') return await serveWrite(context, resource, route, request, 'approval')
  if (subresource === 'finalize') return await serveWrite(context, resource, route, request, 'finalize')
  throw methodNotAllowed()
}

async function serveProxied(context: HandlerContext, route: ResourceRoute, request: ApiRequest): Promise<ApiResponse> {
  const { resource, namespace, info } = route
  const prefix = request.path
    .split('/')
    .slice(0, info.namespaced ? 8 : 6)
    .join('/')
  const asked = parseProxyName(route.name)
  const object = readObject(resource, context.registry.read(resource, namespace, asked.name))
  await admitConnection(context.registry, route, request)
  if (info.plural === 'nodes') return await serveNode(asked.name, request, prefix, context.findKubelet)
  const target =
    info.plural === 'pods'
      ? podTarget(object as KubeObject & Pod, asked)
      : serviceTarget(object as KubeObject & Service, slicesOf(context.store, namespace, asked.name), asked)
  return await serveProxy(request, prefix, target)
}

const streams = new Set(['exec', 'attach', 'portforward'])

async function serveStreams(context: HandlerContext, route: ResourceRoute, request: ApiRequest): Promise<ApiResponse> {
  const { resource, subresource, verb, namespace, name } = route
  if (verb !== 'get' && verb !== 'create') throw methodNotAllowed()
  // Running a program is no reading, though a WebSocket has to begin with GET.
  const asCreate = { ...routeAttributes(route, request.query), verb: 'create' }
  if (verb === 'get') context.access.authorizer.check(request.identity, asCreate)
  const pod = readObject(resource, context.registry.read(resource, namespace, name)) as KubeObject & Pod
  await admitConnection(context.registry, route, request)
  return subresource === 'portforward'
    ? await servePortForward(pod, request, context.findKubelet)
    : await serveCommand(subresource === 'exec' ? 'exec' : 'attach', pod, request, context.findKubelet)
}

async function serveCreate(
  context: HandlerContext,
  resource: Resource,
  route: ResourceRoute,
  request: ApiRequest,
): Promise<ApiResponse> {
  const { object, warnings } = await readObjectBody(request, bodyKindOf(resource))
  const namespace = namespaceOf(resource, route, object)
  const { resourceVersion = '' } = object.metadata
  // Whether it is set is for storage to refuse, which a dry run does not reach.
  if (resourceVersion !== '' && resourceVersion !== '0' && !isDryRun(request.query)) {
    throw badRequest('resourceVersion should not be set on objects to be created')
  }
  const ownership = { writer: writerOf(request, resource) }
  const scope = new AdmissionScope(request, 'CreateOptions')
  const options = { namespace, identity: request.identity, ownership, isDryRun: isDryRun(request.query), scope }
  if (context.serviceAccounts && resource.collection === 'pods') {
    const { serviceAccountName } = (object as KubeObject & Pod).spec ?? {}
    await waitForAccount(context.store, `${namespace}/${serviceAccountName || 'default'}`)
  }
  const written = await context.registry.create(resource, object, options)
  return await respondWritten(201, resource, written, request, warnings)
}

/** Update and patch of an object or a part of it. */
async function serveWrite(
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
    return await respondWritten(applied.isNew ? 201 : 200, resource, applied.written, request, applied.warnings)
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
    return await respondWritten(200, resource, written, request, decoded.warnings)
  }
  const patch = await readPatch(request, bodyKindOf(resource))
  const written = await context.registry.update(resource, options, (current) => {
    const checked = checkPatched(patch.apply(current), bodyKindOf(resource), request.query, patch)
    warnings.push(...checked.warnings)
    checkName(resource, route, checked.object)
    return checked.object
  })
  return await respondWritten(200, resource, written, request, warnings)
}

async function serveScale(
  context: HandlerContext,
  resource: Resource,
  route: ResourceRoute,
  request: ApiRequest,
): Promise<ApiResponse> {
  const { namespace, name, verb } = route
  const format = negotiate(request)
  const scaleOf = resource.custom?.toScale ?? toScale
  if (verb === 'get') {
    const entry = context.registry.read(resource, namespace, name)
    await resource.form.prepare?.([entry.bytes])
    return respond(200, scaleOf(readObject(resource, entry)), format)
  }
  if (verb !== 'update' && verb !== 'patch') throw methodNotAllowed()
  const written = await changeScale(context.registry, route, request)
  await resource.form.prepare?.([written.stored.bytes])
  return respond(200, scaleOf(resource.form.read(written.stored.bytes)), format)
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
  if (!written.isGone) return await respondWritten(200, resource, written, request, [])
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

async function serveBinding(context: HandlerContext, route: ResourceRoute, request: ApiRequest): Promise<ApiResponse> {
  const { object } = await readObjectBody(request, { apiVersion: 'v1', kind: 'Binding' })
  await admitBinding(context.registry, route, request, object)
  await bindPod(context.registry, route.namespace, route.name, object, isDryRun(request.query))
  return respond(201, created, negotiateError(request))
}

const created = { kind: 'Status', apiVersion: 'v1', metadata: {}, status: 'Success', code: 201 }

async function serveEviction(
  context: HandlerContext,
  resource: Resource,
  route: ResourceRoute,
  request: ApiRequest,
): Promise<ApiResponse> {
  const { object } = await readObjectBody(request, { apiVersion: 'policy/v1', kind: 'Eviction' })
  const options = (object['deleteOptions'] ?? {}) as Record<string, unknown>
  const deletion = parseDeletion(options, request.query)
  const { namespace, name } = route
  const { identity } = request
  const pod = readObject(resource, context.registry.read(resource, namespace, name))
  context.guard.check({
    identity,
    resource,
    operation: 'create',
    subresource: 'eviction',
    namespace,
    name,
    object: pod,
  })
  await admitCreated(context.registry, route, request, object, { group: 'policy', version: 'v1', kind: 'Eviction' })
  await evictPod(context.registry, resource, route, deletion)
  return respond(201, created, negotiateError(request))
}

async function serveTokenRequest(
  context: HandlerContext,
  route: ResourceRoute,
  request: ApiRequest,
): Promise<ApiResponse> {
  const { object } = await readObjectBody(request, { apiVersion: 'authentication.k8s.io/v1', kind: 'TokenRequest' })
  isDryRun(request.query)
  const { namespace, name, resource } = route
  const { identity } = request
  context.guard.check({ identity, resource, operation: 'create', subresource: 'token', namespace, name, object })
  const kind = { group: 'authentication.k8s.io', version: 'v1', kind: 'TokenRequest' }
  await admitCreated(context.registry, route, request, object, kind)
  return respond(201, context.access.tokens.issue(route.namespace, route.name, object), negotiateError(request))
}

/** Kinds that are created to be answered: reviews, and the collection form of a binding. */
async function serveReview(
  context: HandlerContext,
  resource: Resource,
  route: ResourceRoute,
  request: ApiRequest,
): Promise<ApiResponse> {
  if (route.verb !== 'create') throw methodNotAllowed()
  if (resource.info.kind === 'Binding') {
    const { object } = await readObjectBody(request, resource.info)
    await admitBinding(context.registry, route, request, object)
    await bindPod(context.registry, route.namespace, object.metadata.name ?? '', object, isDryRun(request.query))
    return respond(201, created, negotiateError(request))
  }
  const format = negotiateAnswer(request)
  const { object } = await readObjectBody(request, resource.info)
  return respond(201, answerReview(context.access, resource, object, request.identity, route.namespace), format)
}

async function respondWritten(
  status: number,
  resource: Resource,
  written: Written,
  request: ApiRequest,
  warnings: readonly string[],
): Promise<ApiResponse> {
  const format = negotiate(request, resource)
  if (resource.form.prepare !== undefined) await resource.form.prepare([written.stored.bytes])
  const deprecation = resource.custom?.deprecation
  const noted = notesOf(request)?.warnings ?? []
  if (deprecation === undefined && warnings.length + noted.length === 0) {
    return respondObject(status, resource, written.stored, format)
  }
  // A patch that is worked out again warns again.
  const all = new Set([...(deprecation === undefined ? [] : [deprecation]), ...warnings, ...noted])
  return respondObject(status, resource, written.stored, format, warningHeader([...all]))
}

function warningHeader(warnings: readonly string[]): { warning: string[] } {
  return { warning: warnings.map((text) => `299 - ${JSON.stringify(text)}`) }
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
