import type { Writer } from '@fairlead/kube/patch'

import type { ApiRequest, Identity } from '../exchange.ts'
import type { Resource } from '../resource.ts'
import { invalid } from '../status.ts'
import type { FieldError } from '../status.ts'

const maxBytes = 128
const printable = /^[^\p{C}\p{Zl}\p{Zp}]*$/u

/** Who writes by a request: the `fieldManager` it names, else what stands before the first `/` of its User-Agent. */
export function writerOf(request: ApiRequest, resource: Resource, subresource = ''): Writer {
  const { query, headers, identity, method } = request
  const asked = query.get('fieldManager') ?? ''
  const errors = checkManager(asked)
  const isForced = query.get('force')
  if (isForced !== null && method === 'PATCH' && !isApply(headers['content-type'])) {
    errors.push({
      field: 'force',
      reason: 'FieldValueForbidden',
      message: 'Forbidden: may not be specified for non-apply patch',
    })
  }
  if (errors.length > 0) throw invalidOptions(method, errors)
  const manager = asked === '' ? managerFrom(headers['user-agent'], identity) : asked
  return { manager, apiVersion: resource.info.apiVersion, subresource }
}

/** Who applies: an applier has to say its name. */
export function applierOf(request: ApiRequest, resource: Resource, subresource = ''): Writer {
  if ((request.query.get('fieldManager') ?? '') === '') {
    const message = 'Required value: is required for apply patch'
    throw invalidOptions('PATCH', [{ field: 'fieldManager', reason: 'FieldValueRequired', message }])
  }
  return writerOf(request, resource, subresource)
}

function isApply(contentType: string | undefined): boolean {
  return contentType?.startsWith('application/apply-patch') === true
}

function checkManager(name: string): FieldError[] {
  if (name === '') return []
  const errors: FieldError[] = []
  const field = 'fieldManager'
  if (Buffer.byteLength(name) > maxBytes) {
    errors.push({ field, reason: 'FieldValueTooLong', message: `Too long: may not be more than ${maxBytes} bytes` })
  }
  if (!printable.test(name)) {
    const message = `Invalid value: ${JSON.stringify(name)}: should only contain printable characters`
    errors.push({ field, reason: 'FieldValueInvalid', message })
  }
  return errors
}

const optionKinds: Readonly<Record<string, string>> = { POST: 'CreateOptions', PUT: 'UpdateOptions' }

function invalidOptions(method: string, errors: readonly FieldError[]): Error {
  const kind = optionKinds[method] ?? 'PatchOptions'
  return invalid({ group: 'meta.k8s.io', kind }, '', errors)
}

function managerFrom(userAgent: string | undefined, identity: Identity): string {
  if (userAgent === undefined) return componentOf(identity.user)
  let name = ''
  for (const char of userAgent.split('/', 1)[0] ?? '') {
    if (!printable.test(char)) continue
    if (Buffer.byteLength(name + char) > maxBytes) break
    name += char
  }
  return name === '' ? 'unknown' : name
}

/** Parts of the cluster that call without HTTP send no User-Agent; upstream's own would name themselves so. */
function componentOf(user: string): string {
  if (user.startsWith('system:node:')) return 'kubelet'
  if (user.startsWith('system:serviceaccount:kube-system:')) return 'kube-controller-manager'
  return user.startsWith('system:kube-') ? user.slice('system:'.length) : 'unknown'
}
