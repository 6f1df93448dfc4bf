import { isDeepStrictEqual } from 'node:util'
import type { KubeObject } from '@fairlead/kube/types'
import type {
  AllocatedDeviceStatus,
  AllocationResult,
  DeviceRequest,
  ResourceClaim,
  ResourceClaimStatus,
  ResourceClaimTemplate,
} from '@fairlead/kube/types/resource-v1'

import type { Store } from '../../storage/store.ts'
import { forbidden } from '../kinds/field-errors.ts'
import { isEqual } from '../metadata.ts'
import { knownResource, readObject } from '../resource.ts'
import { invalid } from '../status.ts'
import type { FieldError } from '../status.ts'
import { accessForbidden } from './authorizer.ts'
import type { Authorizer } from './authorizer.ts'
import { isOnNode } from './impersonation.ts'
import type { Write } from './node/node-restriction.ts'

type Claim = KubeObject & ResourceClaim

const namespaces = knownResource('', 'v1', 'namespaces')
const adminLabel = 'resource.kubernetes.io/admin-access'

/**
 * Looks at claims to devices, where being allowed to write them is not enough: only namespaces with a label may use
 * devices that are in use by others (KEP-5018), who gives devices away and who reports of them needs rights of their own
 * (KEP-4817, `DRAResourceClaimGranularStatusAuthorization`). Throws 422, as upstream does.
 */
export function judgeClaim(store: Store, authorizer: Authorizer, write: Write): void {
  const errors = faultsOf(store, authorizer, write)
  if (errors.length > 0) throw invalid(write.resource.info, write.name, errors)
}

function faultsOf(store: Store, authorizer: Authorizer, write: Write): FieldError[] {
  const { operation, subresource, resource, namespace } = write
  const isClaim = resource.info.kind === 'ResourceClaim'
  if (operation === 'create') return judgeAdmin(store, namespace, adminRequest(requestsOf(write)))
  if (operation !== 'update' || subresource !== 'status' || !isClaim) return []
  const status = (write.object as Claim).status ?? {}
  const before = (write.old as Claim | undefined)?.status ?? {}
  const place = adminResult(before.allocation) === undefined ? adminResult(status.allocation) : undefined
  return [
    ...judgeAdmin(store, namespace, place),
    ...judgeBinding(authorizer, write, status, before),
    // What is told of devices that a claim no longer has goes with them.
    ...(status.allocation === undefined ? [] : judgeDevices(authorizer, write, status, before)),
  ]
}

function requestsOf({ resource, object }: Write): readonly DeviceRequest[] {
  if (resource.info.kind === 'ResourceClaim') return (object as Claim).spec?.devices?.requests ?? []
  if (resource.info.kind !== 'ResourceClaimTemplate') return []
  return (object as KubeObject & ResourceClaimTemplate).spec?.spec?.devices?.requests ?? []
}

/** The first request for devices whoever else has them. */
function adminRequest(requests: readonly DeviceRequest[]): string | undefined {
  const at = requests.findIndex(({ exactly }) => exactly?.adminAccess === true)
  return at < 0 ? undefined : `spec.devices.requests[${at}].adminAccess`
}

function adminResult(allocation: AllocationResult | undefined): string | undefined {
  const at = (allocation?.devices?.results ?? []).findIndex(({ adminAccess }) => adminAccess === true)
  return at < 0 ? undefined : `status.allocation.devices.results[${at}].adminAccess`
}

function judgeAdmin(store: Store, namespace: string, field: string | undefined): FieldError[] {
  if (field === undefined) return []
  const entry = store.get(namespaces.collection, namespace)
  if (entry !== undefined && readObject(namespaces, entry).metadata.labels?.[adminLabel] === 'true') return []
  return [
    forbidden(field, `admin access to devices requires the \`${adminLabel}: true\` label on the containing namespace`),
  ]
}

function judgeBinding(
  authorizer: Authorizer,
  { identity, verb }: Write,
  status: ResourceClaimStatus,
  before: ResourceClaimStatus,
): FieldError[] {
  const isSame = isEqual(status.allocation, before.allocation) && isEqual(status.reservedFor, before.reservedFor)
  if (isSame) return []
  const asked = { ...claims, verb, subresource: 'binding', namespace: '', name: '' }
  const { allowed, reason } = authorizer.decide(identity, asked)
  if (allowed) return []
  const what = `changing status.allocation or status.reservedFor requires resource="resourceclaims/binding", verb="${verb}" permission`
  return [forbidden('status.allocation', `${what}: ${accessForbidden(identity, asked, reason).message}`)]
}

const claims = { group: 'resource.k8s.io', resource: 'resourceclaims' }

function judgeDevices(
  authorizer: Authorizer,
  { identity, verb, namespace }: Write,
  status: ResourceClaimStatus,
  before: ResourceClaimStatus,
): FieldError[] {
  const isLocal = isOnNode(identity, nodeOf(status.allocation))
  const verbs = [...(isLocal ? [`associated-node:${verb}`] : []), `arbitrary-node:${verb}`]
  const what = `changing status.devices requires resource="resourceclaims/driver", verb="[${verbs.join(' ')}]" permission`
  return changedDrivers(status.devices, before.devices).flatMap((name) => {
    const asked = verbs.map((each) => ({ ...claims, verb: each, subresource: 'driver', namespace, name }))
    const decisions = asked.map((each) => authorizer.decide(identity, each))
    const [first] = asked
    if (first === undefined || decisions.some(({ allowed }) => allowed)) return []
    const { message } = accessForbidden(identity, first, decisions[0]?.reason ?? '')
    return [forbidden('status.devices', `${what}: ${message}`)]
  })
}

/** Those of whose devices something else is said than before, or nothing any more. */
function changedDrivers(
  devices: readonly AllocatedDeviceStatus[] = [],
  before: readonly AllocatedDeviceStatus[] = [],
): string[] {
  const known = (list: readonly AllocatedDeviceStatus[]): Map<string, AllocatedDeviceStatus> =>
    new Map(list.map((each) => [JSON.stringify([each.driver, each.pool, each.device, each.shareID ?? '']), each]))
  const [now, then] = [known(devices), known(before)]
  const changed = [...now].filter(([key, each]) => !isDeepStrictEqual(each, then.get(key)))
  const gone = [...then].filter(([key]) => !now.has(key))
  return [...new Set([...changed, ...gone].map(([, { driver }]) => driver))].toSorted()
}

/** The one node that devices are on, where they are on one. */
function nodeOf(allocation: AllocationResult | undefined): string | undefined {
  const [term, ...others] = allocation?.nodeSelector?.nodeSelectorTerms ?? []
  const [field, ...more] = term?.matchFields ?? []
  if (others.length + more.length + (term?.matchExpressions ?? []).length > 0) return undefined
  const [name, ...names] = field?.values ?? []
  const isOne = field?.key === 'metadata.name' && field.operator === 'In' && names.length === 0
  return isOne ? name : undefined
}
