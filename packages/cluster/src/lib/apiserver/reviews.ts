import type { KubeObject } from '@fairlead/kube/types'
import type {
  LocalSubjectAccessReview,
  SelfSubjectAccessReview,
  SubjectAccessReview,
} from '@fairlead/kube/types/authorization-v1'
import type { TokenReview } from '@fairlead/kube/types/authentication-v1'

import type { Authenticator } from './authentication.ts'
import { isTrusted, mayAccess, mayRead } from './authorization.ts'
import type { Identity } from './exchange.ts'
import { renderTime } from './metadata.ts'

/** Answers a review: an object that is a question, created to be answered and not kept. */
export function answerReview(review: KubeObject, identity: Identity, authenticator: Authenticator): KubeObject {
  review.metadata = { ...review.metadata, creationTimestamp: renderTime(Date.now()) }
  review['status'] = statusOf(review, identity, authenticator)
  return review
}

function statusOf(review: KubeObject, identity: Identity, authenticator: Authenticator): unknown {
  switch (review.kind) {
    case 'SelfSubjectReview':
      return { userInfo: userInfo(identity) }
    case 'SelfSubjectAccessReview':
      return decide(identity, (review as KubeObject & SelfSubjectAccessReview).spec)
    case 'SelfSubjectRulesReview':
      return rulesOf(identity)
    case 'TokenReview': {
      const found = authenticator.identify((review as KubeObject & TokenReview).spec.token ?? '')
      return found === undefined ? { authenticated: false } : { authenticated: true, user: userInfo(found) }
    }
    default: {
      const { spec } = review as KubeObject & (SubjectAccessReview | LocalSubjectAccessReview)
      return decide({ user: spec.user ?? '', groups: spec.groups ?? [] }, spec)
    }
  }
}

function decide(identity: Identity, spec: SelfSubjectAccessReview['spec']): unknown {
  const { resourceAttributes: asked, nonResourceAttributes: path } = spec
  const isAllowed =
    asked === undefined
      ? mayRead(identity, path?.path ?? '')
      : mayAccess(identity, {
          verb: asked.verb ?? '',
          group: asked.group ?? '',
          resource: asked.resource ?? '',
          subresource: asked.subresource ?? '',
          namespace: asked.namespace ?? '',
          name: asked.name ?? '',
        })
  return { allowed: isAllowed }
}

function rulesOf(identity: Identity): unknown {
  const everything = {
    resourceRules: [{ verbs: ['*'], apiGroups: ['*'], resources: ['*'] }],
    nonResourceRules: [{ verbs: ['*'], nonResourceURLs: ['*'] }],
  }
  const known = {
    resourceRules: [
      {
        verbs: ['create'],
        apiGroups: ['authorization.k8s.io'],
        resources: ['selfsubjectaccessreviews', 'selfsubjectrulesreviews'],
      },
      { verbs: ['create'], apiGroups: ['authentication.k8s.io'], resources: ['selfsubjectreviews'] },
    ],
    nonResourceRules: [
      {
        verbs: ['get'],
        nonResourceURLs: ['/api', '/api/*', '/apis', '/apis/*', '/healthz', '/openapi', '/openapi/*', '/version'],
      },
    ],
  }
  return { ...(isTrusted(identity) ? everything : known), incomplete: false }
}

function userInfo({ user, groups, uid, extra }: Identity): unknown {
  return { username: user, groups, ...(uid === undefined ? {} : { uid }), ...(extra === undefined ? {} : { extra }) }
}
