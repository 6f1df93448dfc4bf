import { codeOf } from '../errors.ts'
import { askedAttributes, routeAttributes } from './access/request-attributes.ts'
import { notesOf } from './admission/scope.ts'
import { serveComponentStatuses } from './component-status.ts'
import { withDeprecation } from './deprecation.ts'
import type { ApiRequest, ApiResponse } from './exchange.ts'
import type { HandlerContext } from './handler-context.ts'
import type { Measured } from './metrics/request-metrics.ts'
import { negotiateError } from './negotiate.ts'
import type { Asked } from './negotiate.ts'
import { respond } from './render.ts'
import { checkTimeout } from './request-checks.ts'
import { warningHeader } from './respond-written.ts'
import { parseRoute } from './route.ts'
import type { ResourceRoute, Verb } from './route.ts'
import { serveObject } from './serve-object.ts'
import { servePath } from './serve-path.ts'
import { serveSubresource, serveReview } from './serve-subresource.ts'
import { internalError, StatusError } from './status.ts'

/** Answers one request. Whatever goes wrong becomes a `Status`. */
export async function handle(context: HandlerContext, request: ApiRequest): Promise<ApiResponse> {
  const measured = context.metrics.begin(request)
  let answer: ApiResponse
  try {
    answer = await dispatch(context, request, measured)
    if (measured.route !== undefined) answer = withDeprecation(measured.route.resource, answer)
  } catch (error) {
    answer = renderFailure(error, context, request)
  }
  return context.metrics.end(measured, request, answer)
}

function renderFailure(error: unknown, { onError }: HandlerContext, request: ApiRequest): ApiResponse {
  const answer = renderError(error, onError, request)
  const warnings = notesOf(request)?.warnings ?? []
  return warnings.length === 0 ? answer : { ...answer, headers: { ...answer.headers, ...warningHeader(warnings) } }
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

/** Not async, as the functions a write goes through until something has to be waited for: each promise more is felt there. */
function dispatch(context: HandlerContext, request: ApiRequest, measured: Measured): Promise<ApiResponse> {
  const { method, path, query, identity } = request
  checkTimeout(request)
  const route = /^\/apis?\//.test(path) ? parseRoute(context.catalogue, method, path, query) : undefined
  if (route === undefined) return serveElsewhere(context, request)
  measured.route = route
  context.access.authorizer.check(identity, routeAttributes(route, query))
  const room = isReading(route.verb) ? undefined : context.fanOut.room(route.resource.collection)
  return room === undefined ? serveRoute(context, route, request) : room.then(() => serveRoute(context, route, request))
}

async function serveElsewhere(context: HandlerContext, request: ApiRequest): Promise<ApiResponse> {
  return (await serveRemote(context, request)) ?? (await servePath(context, request))
}

function isReading(verb: Verb): boolean {
  return verb === 'get' || verb === 'list' || verb === 'watch'
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
  const { method, path, query, identity } = request
  const answer = context.apiServices.find(path)
  if (answer === undefined) return undefined
  context.access.authorizer.check(identity, askedAttributes(method, path, query))
  return await answer(request)
}
