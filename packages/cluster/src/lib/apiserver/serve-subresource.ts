import type { KubeObject } from '@fairlead/kube/types'
import type { Pod, Service } from '@fairlead/kube/types/core-v1'

import { routeAttributes } from './access/request-attributes.ts'
import { answerReview } from './access/reviews.ts'
import { admitBinding, admitConnection, admitCreated } from './admission/subresources.ts'
import { readObjectBody } from './body.ts'
import { parseDeletion } from './deletion.ts'
import { evictPod } from './eviction.ts'
import type { ApiRequest, ApiResponse } from './exchange.ts'
import { changeScale } from './field-managers/scale.ts'
import type { HandlerContext } from './handler-context.ts'
import { negotiate, negotiateAnswer, negotiateError } from './negotiate.ts'
import { servePodLog } from './pod-log.ts'
import { bindPod } from './pods.ts'
import { serveProxy } from './proxy/serve.ts'
import { serveNode, slicesOf } from './proxy/sources.ts'
import { parseProxyName, podTarget, serviceTarget } from './proxy/target.ts'
import { respond, respondObject } from './render.ts'
import { isDryRun } from './request-checks.ts'
import { readObject } from './resource.ts'
import type { Resource } from './resource.ts'
import type { ResourceRoute } from './route.ts'
import { toScale } from './scale.ts'
import { serveWrite } from './serve-object.ts'
import { methodNotAllowed } from './status.ts'
import { serveCommand, servePortForward } from './streaming/serve.ts'

/** Parts of objects, and what is reached through them. */
export async function serveSubresource(
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
    verb: 'create',
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
  const asked = { operation: 'create', verb: 'create', subresource: 'token' } as const
  context.guard.check({ identity, resource, ...asked, namespace, name, object })
  const kind = { group: 'authentication.k8s.io', version: 'v1', kind: 'TokenRequest' }
  await admitCreated(context.registry, route, request, object, kind)
  return respond(201, context.access.tokens.issue(route.namespace, route.name, object), negotiateError(request))
}

/** Kinds that are created to be answered: reviews, and the collection form of a binding. */
export async function serveReview(
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
