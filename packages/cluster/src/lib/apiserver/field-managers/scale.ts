import { applyConfiguration, fromScaleFields, mergeTypeOf, ownUpdate, toScaleFields } from '@fairlead/kube/patch'
import type { ManagedFieldsEntry, MergeContext, Owned, ReplicasPaths, Writer } from '@fairlead/kube/patch'
import type { KubeObject } from '@fairlead/kube/types'
import type { Scale } from '@fairlead/kube/types/autoscaling-v1'

import { AdmissionScope } from '../admission/scope.ts'
import { checkPatched, readObjectBody } from '../body.ts'
import type { ApiRequest } from '../exchange.ts'
import { noReplicas } from '../custom-resources/scale.ts'
import { invalid as invalidField } from '../kinds/field-errors.ts'
import { renderTime } from '../metadata.ts'
import { isApplyPatch, readConfiguration, readPatch } from '../patch.ts'
import type { Registry, Written } from '../registry.ts'
import { isDryRun } from '../request-checks.ts'
import { isTrue } from '../route.ts'
import type { ResourceRoute } from '../route.ts'
import { applyScale, toScale } from '../scale.ts'
import { invalid } from '../status.ts'
import { orStatus } from './apply-object.ts'
import { applierOf, writerOf } from './manager-name.ts'

const expected = { apiVersion: 'autoscaling/v1', kind: 'Scale' }
const type = mergeTypeOf('io.k8s.api.autoscaling.v1.Scale')
const context: MergeContext = {
  typeOf: (apiVersion) => (apiVersion === expected.apiVersion ? type : undefined),
  convert: (object) => object,
}

type ScaleObject = KubeObject & Scale

/** Writes the Scale of an object, whichever way; the replicas belong to who writes them, under the name `scale`. */
export async function changeScale(registry: Registry, route: ResourceRoute, request: ApiRequest): Promise<Written> {
  const { resource, namespace, name } = route
  const isApplied = isApplyPatch(request)
  const named = isApplied ? applierOf(request, resource, 'scale') : writerOf(request, resource, 'scale')
  const change = await readChange(request, route, { ...named, apiVersion: expected.apiVersion }, isApplied)
  const pathOf: ReplicasPaths = (version) => (resource.custom?.replicasPaths ?? builtInPaths).get(version)
  const ownership: { entries: ManagedFieldsEntry[] | undefined } = { entries: undefined }
  const { identity } = request
  const scope = new AdmissionScope(request, request.method === 'PATCH' ? 'PatchOptions' : 'UpdateOptions')
  const about = { namespace, name, part: 'object', subresource: 'scale', identity, ownership, scope } as const
  const options = { ...about, isDryRun: isDryRun(request.query) }
  return await registry.update(resource, options, (current) => {
    const before = current.metadata.managedFields
    const live = resource.custom?.toScale?.(current, noReplicas) ?? toScale(current)
    live.metadata.managedFields = toScaleFields(before, pathOf)
    const { object, entries } = change(live)
    if (resource.custom === undefined) checkScale(name, object)
    ownership.entries = fromScaleFields(before, entries, resource.info.apiVersion, pathOf)
    return resource.custom?.applyScale?.(current, object) ?? applyScale(current, object)
  })
}

const replicas = ['f:spec', 'f:replicas'] as const

/** Whoever owns fields of a version beyond these loses them when the object is scaled. */
const builtInPaths: ReadonlyMap<string, readonly string[]> = new Map(
  ['v1', 'apps/v1', 'apps/v1beta2', 'apps/v1beta1'].map((version) => [version, replicas]),
)

/** The Scale itself has to be right, whatever it scales; custom resources say by themselves what is. */
function checkScale(name: string, { spec }: ScaleObject): void {
  const { replicas: wanted = 0 } = spec ?? {}
  if (wanted >= 0) return
  const error = invalidField('spec.replicas', wanted, 'must be greater than or equal to 0')
  throw invalid({ group: 'autoscaling', kind: expected.kind }, name, [error])
}

interface Changed {
  readonly object: ScaleObject
  readonly entries: ManagedFieldsEntry[] | undefined
}

async function readChange(
  request: ApiRequest,
  route: ResourceRoute,
  writer: Writer,
  isApplied: boolean,
): Promise<(live: ScaleObject) => Changed> {
  if (isApplied) return await readApplied(request, route, writer)
  const patch = request.method === 'PATCH' ? await readPatch(request, expected) : undefined
  const transform = patch?.apply ?? (await readScale(request))
  return (live) => {
    const { managedFields, ...metadata } = live.metadata
    const object = checkPatched(transform({ ...live, metadata }), expected, request.query, patch).object as ScaleObject
    const next = { ...object, metadata: { ...object.metadata, managedFields } }
    const info = { writer, time: renderTime(Date.now()) }
    return { object, entries: ownUpdate(context, info, live as unknown as Owned, next) }
  }
}

async function readApplied(
  request: ApiRequest,
  { namespace, name }: ResourceRoute,
  writer: Writer,
): Promise<(live: ScaleObject) => Changed> {
  const { config } = await readConfiguration(request)
  const isForced = isTrue(request.query.get('force'))
  const configuration = { config, kind: expected.kind, subject: `${namespace}/${name}`, isForced }
  return (live) => {
    const info = { writer, time: renderTime(Date.now()) }
    const applied = orStatus(() => applyConfiguration(context, info, live as unknown as Owned, configuration))
    const { managedFields: entries, ...metadata } = applied.metadata
    const { object } = checkPatched({ ...applied, metadata }, expected, request.query)
    return { object: object as ScaleObject, entries }
  }
}

async function readScale(request: ApiRequest): Promise<(object: KubeObject) => KubeObject> {
  const { object } = await readObjectBody(request, expected)
  return () => object
}
