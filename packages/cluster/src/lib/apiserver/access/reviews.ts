import type { KubeObject } from '@fairlead/kube/types'
import type {
  ResourceAttributes,
  SelfSubjectRulesReview,
  SubjectAccessReview,
  SubjectAccessReviewSpec,
} from '@fairlead/kube/types/authorization-v1'
import type { TokenReview } from '@fairlead/kube/types/authentication-v1'

import type { Identity } from '../exchange.ts'
import { renderTime } from '../metadata.ts'
import type { Resource } from '../resource.ts'
import { badRequest, invalid } from '../status.ts'
import type { FieldError } from '../status.ts'
import type { Access } from './access.ts'
import { pathAttributes } from './attributes.ts'
import type { Attributes } from './attributes.ts'
import { nodeNameOf } from './node/node-authorizer.ts'
import { aggregate } from './rbac/policy.ts'

/** Answers a review: an object that is a question, created to be answered and not kept. */
export function answerReview(
  access: Access,
  resource: Resource,
  review: KubeObject,
  identity: Identity,
  namespace: string,
): KubeObject {
  switch (review.kind) {
    case 'SelfSubjectReview': {
      const metadata = { creationTimestamp: renderTime(Date.now()) }
      return { ...review, metadata, status: { userInfo: userInfo(identity) } }
    }
    case 'SelfSubjectRulesReview':
      return { ...review, status: rulesOf(access, review as KubeObject & SelfSubjectRulesReview, identity) }
    case 'TokenReview':
      return { ...review, status: tokenStatus(access, review as KubeObject & TokenReview) }
    default:
      return { ...review, status: accessStatus(access, resource, review, identity, namespace) }
  }
}

function accessStatus(
  access: Access,
  resource: Resource,
  review: KubeObject,
  identity: Identity,
  namespace: string,
): unknown {
  const { spec, metadata } = review as KubeObject & SubjectAccessReview
  const isSelf = review.kind === 'SelfSubjectAccessReview'
  const isLocal = review.kind === 'LocalSubjectAccessReview'
  const errors = [...checkSpec(spec, isSelf), ...(isLocal ? checkLocal(spec, metadata.namespace ?? '') : [])]
  if (errors.length > 0) throw invalid(resource.info, '', errors)
  if (isLocal && namespace !== (metadata.namespace ?? '')) {
    throw badRequest(`spec.resourceAttributes.namespace must match namespace: ${namespace}`)
  }
  const subject = isSelf ? identity : subjectOf(spec)
  const { allowed, reason } = access.authorizer.decide(subject, attributesOf(spec))
  return { allowed, ...(reason === '' ? {} : { reason }) }
}

function checkSpec(spec: SubjectAccessReviewSpec | undefined, isSelf: boolean): FieldError[] {
  const { resourceAttributes, nonResourceAttributes, user = '', groups = [] } = spec ?? {}
  const errors: FieldError[] = []
  if (resourceAttributes !== undefined && nonResourceAttributes !== undefined) {
    const why = 'cannot be specified in combination with resourceAttributes'
    errors.push(wrong('spec.nonResourceAttributes', nonResourceAttributes, why))
  }
  if (resourceAttributes === undefined && nonResourceAttributes === undefined) {
    const why = 'exactly one of nonResourceAttributes or resourceAttributes must be specified'
    errors.push(wrong('spec.resourceAttributes', null, why))
  }
  if (!isSelf && user === '' && groups.length === 0) {
    errors.push(wrong('spec.user', '', 'at least one of user or group must be specified'))
  }
  return errors
}

function checkLocal({ resourceAttributes, nonResourceAttributes }: SubjectAccessReviewSpec, own: string): FieldError[] {
  const errors: FieldError[] = []
  const asked = resourceAttributes?.namespace ?? ''
  if (resourceAttributes !== undefined && asked !== own) {
    errors.push(wrong('spec.resourceAttributes.namespace', asked, 'must match metadata.namespace'))
  }
  if (nonResourceAttributes !== undefined) {
    errors.push(wrong('spec.nonResourceAttributes', nonResourceAttributes, 'disallowed on this kind of request'))
  }
  return errors
}

function wrong(field: string, value: unknown, why: string): FieldError {
  return { field, reason: 'FieldValueInvalid', message: `Invalid value: ${JSON.stringify(value)}: ${why}` }
}

function subjectOf({ user = '', groups = [], uid, extra }: SubjectAccessReviewSpec): Identity {
  return { user, groups, ...(uid === undefined ? {} : { uid }), ...(extra === undefined ? {} : { extra }) }
}

function attributesOf({ resourceAttributes, nonResourceAttributes }: SubjectAccessReviewSpec): Attributes {
  if (resourceAttributes === undefined) {
    return pathAttributes(nonResourceAttributes?.verb ?? '', nonResourceAttributes?.path ?? '')
  }
  const { verb = '', group = '', resource = '', subresource = '', namespace = '', name = '' } = resourceAttributes
  return { verb, group, resource, subresource, namespace, name, fieldSelector: selectorOf(resourceAttributes) }
}

function selectorOf({ fieldSelector }: ResourceAttributes): string | undefined {
  if (fieldSelector?.requirements === undefined) return fieldSelector?.rawSelector
  const terms = fieldSelector.requirements.map(({ key, operator, values = [] }) =>
    operator === 'In' && values.length === 1 ? `${key}=${values[0]}` : '',
  )
  return terms.filter((term) => term !== '').join(',')
}

function rulesOf(access: Access, { spec }: SelfSubjectRulesReview, identity: Identity): unknown {
  const namespace = spec?.namespace ?? ''
  if (namespace === '') throw badRequest('no namespace on request')
  const { rules, errors } = access.authorizer.policy.rulesFor(identity, namespace)
  const isNode = nodeNameOf(identity) !== undefined
  const problems = isNode ? ['node authorizer does not support user rule resolution', ...errors] : errors
  return {
    resourceRules: rules.filter(({ resources = [] }) => resources.length > 0),
    nonResourceRules: rules.filter(({ nonResourceURLs = [] }) => nonResourceURLs.length > 0),
    incomplete: isNode,
    ...(problems.length === 0 ? {} : { evaluationError: aggregate(problems) }),
  }
}

function tokenStatus(access: Access, { spec }: TokenReview): unknown {
  const { token, audiences = [] } = spec
  if ((token ?? '') === '') throw badRequest('token is required for TokenReview in authentication')
  const { authenticator } = access
  const verdict = authenticator.verify(token, audiences.length === 0 ? authenticator.audiences : audiences)
  if ('identity' in verdict) {
    return { authenticated: true, user: userInfo(verdict.identity), audiences: verdict.audiences }
  }
  const generic = 'invalid bearer token'
  return { user: {}, error: verdict.error === generic ? generic : `[${generic}, ${verdict.error}]` }
}

function userInfo({ user, groups, uid, extra }: Identity): unknown {
  return { username: user, groups, ...(uid === undefined ? {} : { uid }), ...(extra === undefined ? {} : { extra }) }
}
