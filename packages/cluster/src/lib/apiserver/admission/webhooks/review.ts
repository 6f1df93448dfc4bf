import { parseExactJson } from '@fairlead/kube/codec'
import { randomUUID } from 'node:crypto'
import type { KubeObject, Status } from '@fairlead/kube/types'

import type { Resource } from '../../resource.ts'
import { StatusError } from '../../status.ts'
import { kindOf } from '../attributes.ts'
import type { AdmissionAttributes } from '../attributes.ts'

const group = 'admission.k8s.io'
const known = ['v1', 'v1beta1']

/** A question to a webhook. */
export interface AdmissionReview {
  readonly apiVersion: string
  readonly kind: 'AdmissionReview'
  readonly request: Readonly<Record<string, unknown>> & { readonly uid: string }
}

/** What a webhook answers. */
export interface ReviewAnswer {
  readonly allowed: boolean
  readonly status: Partial<Status> | undefined
  /** A JSON patch; undefined when nothing is to be changed. */
  readonly patch: unknown
  readonly warnings: readonly string[]
  readonly annotations: Readonly<Record<string, string>>
}

/** The question about a request, as one about `matched`: the version of the resource that the rules name. */
export function renderReview(
  attributes: AdmissionAttributes,
  matched: Resource,
  objects: { readonly object: KubeObject | undefined; readonly oldObject: KubeObject | undefined },
  versions: readonly string[],
): AdmissionReview {
  const version = versions.find((each) => known.includes(each)) ?? 'v1'
  const { resource, subresource, name, namespace, operation, identity, options, isDryRun, kind } = attributes
  const { user, uid, groups, extra } = identity
  const sub = subresource === '' ? {} : { subResource: subresource }
  const requestSub = subresource === '' ? {} : { requestSubResource: subresource }
  const request = {
    uid: randomUUID(),
    kind: kindOf({ kind, resource: matched }),
    resource: resourceOf(matched),
    ...sub,
    requestKind: kindOf(attributes),
    requestResource: resourceOf(resource),
    ...requestSub,
    ...(name === '' ? {} : { name }),
    ...(namespace === '' ? {} : { namespace }),
    operation,
    userInfo: {
      username: user,
      ...(uid === undefined || uid === '' ? {} : { uid }),
      groups: [...groups],
      ...(extra === undefined ? {} : { extra }),
    },
    object: objects.object ?? null,
    oldObject: objects.oldObject ?? null,
    dryRun: isDryRun,
    options: options ?? null,
  }
  return { apiVersion: `${group}/${version}`, kind: 'AdmissionReview', request }
}

/** Reads the answer to `review`; throws an `Error` that says what is wrong with it. */
export function parseAnswer(answer: unknown, review: AdmissionReview, isMutating: boolean): ReviewAnswer {
  const { apiVersion = '', kind = '', response } = asRecord(answer)
  if (`${String(apiVersion)} ${String(kind)}` !== `${review.apiVersion} ${review.kind}`) {
    const got = `${String(apiVersion)}, Kind=${String(kind)}`
    throw new Error(`expected webhook response of ${review.apiVersion}, Kind=${review.kind}, got ${got}`)
  }
  if (typeof response !== 'object' || response === null) throw new Error('webhook response was absent')
  const { uid = '', allowed, status, patch, patchType, warnings, auditAnnotations } = asRecord(response)
  if (uid !== review.request.uid) {
    throw new Error(`expected response.uid=${JSON.stringify(review.request.uid)}, got ${JSON.stringify(uid)}`)
  }
  checkPatch(patch, patchType, isMutating)
  return {
    allowed: allowed === true,
    status: status === undefined || status === null ? undefined : status,
    patch: typeof patch === 'string' && patch !== '' ? parsePatch(patch) : undefined,
    warnings: Array.isArray(warnings) ? warnings.map(String) : [],
    annotations: asRecord(auditAnnotations) as Record<string, string>,
  }
}

function checkPatch(patch: unknown, patchType: unknown, isMutating: boolean): void {
  const has = { patch: typeof patch === 'string' && patch !== '', type: patchType !== undefined && patchType !== null }
  if (!isMutating) {
    if (has.patch) throw new Error('validating webhook may not return response.patch')
    if (has.type) throw new Error('validating webhook may not return response.patchType')
    return
  }
  if (has.patch && !has.type) throw new Error('webhook returned response.patch but not response.patchType')
  if (!has.patch && has.type) throw new Error('webhook returned response.patchType but not response.patch')
  if (has.type && patchType !== 'JSONPatch') throw new Error(`unsupported patch type ${JSON.stringify(patchType)}`)
}

function parsePatch(text: string): unknown {
  return parseExactJson(Buffer.from(text, 'base64').toString('utf8'))
}

/** The refusal of a webhook as the client sees it. */
export function denial(webhook: string, status: Partial<Status> | undefined): StatusError {
  const denied = `admission webhook ${JSON.stringify(webhook)} denied the request`
  const { message = '', reason = '', code = 0, details } = status ?? {}
  const why = message !== '' ? `: ${message}` : reason !== '' ? `: ${reason}` : ' without explanation'
  const shown = code < 400 ? 400 : code
  return new StatusError(shown, reason, `${denied}${why}`, details === undefined ? {} : { details })
}

function resourceOf({ info }: Resource): { group: string; version: string; resource: string } {
  return { group: info.group, version: info.version, resource: info.plural }
}

function asRecord(value: unknown): Record<string, unknown> {
  return typeof value === 'object' && value !== null ? (value as Record<string, unknown>) : {}
}
