import type { KubeObject } from '@fairlead/kube/types'

import { AuthorizerValue, ResourceCheck } from '../../cel/authorization.ts'
import type { Decide } from '../../cel/authorization.ts'
import { parseTimestamp } from '../../cel/time.ts'
import { dyn, listOf, parseType } from '../../cel/types.ts'
import type { Type } from '../../cel/types.ts'
import { CelMap, CelObject, fromJson } from '../../cel/values.ts'
import type { Value } from '../../cel/values.ts'
import type { Authorizer } from '../../access/authorizer.ts'
import type { Resource } from '../../resource.ts'
import { kindOf } from '../attributes.ts'
import type { AdmissionAttributes } from '../attributes.ts'

const text = parseType('string')
const texts = parseType('map<string,string>')

function objectType(name: string, fields: Record<string, Type>): Type {
  return { kind: 'object', name, fields: new Map(Object.entries(fields)) }
}

const groupVersionKind = objectType('kubernetes.GroupVersionKind', { group: text, version: text, kind: text })
const groupVersionResource = objectType('kubernetes.GroupVersionResource', {
  group: text,
  version: text,
  resource: text,
})

const requestType = objectType('kubernetes.AdmissionRequest', {
  kind: groupVersionKind,
  resource: groupVersionResource,
  subResource: text,
  requestKind: groupVersionKind,
  requestResource: groupVersionResource,
  requestSubResource: text,
  name: text,
  namespace: text,
  operation: text,
  userInfo: objectType('kubernetes.UserInfo', {
    username: text,
    uid: text,
    groups: listOf(text),
    extra: parseType('map<string,list<string>>'),
  }),
  dryRun: parseType('bool'),
  options: dyn,
})

const namespaceType = objectType('kubernetes.Namespace', {
  metadata: objectType('kubernetes.NamespaceMetadata', {
    name: text,
    generateName: text,
    namespace: text,
    labels: texts,
    annotations: texts,
    UID: text,
    creationTimestamp: parseType('timestamp'),
    deletionGracePeriodSeconds: parseType('int'),
    deletionTimestamp: parseType('timestamp'),
    generation: parseType('int'),
    resourceVersion: text,
    selfLink: text,
    finalizers: listOf(text),
  }),
  spec: objectType('kubernetes.NamespaceSpec', { finalizers: listOf(text) }),
  status: objectType('kubernetes.NamespaceStatus', { phase: text }),
})

/** Variables of the conditions of webhooks. */
export const conditionVariables: ReadonlyMap<string, Type> = new Map([
  ['object', dyn],
  ['oldObject', dyn],
  ['request', requestType],
  ['authorizer', parseType('kubernetes.authorization.Authorizer')],
  ['authorizer.requestResource', parseType('kubernetes.authorization.ResourceCheck')],
])

/** Variables of everything in a policy; `variables` come with the policy. */
export const policyVariables: ReadonlyMap<string, Type> = new Map([
  ...conditionVariables,
  ['namespaceObject', namespaceType],
  ['params', dyn],
])

/** Variables of mutations: with them come the types whose literals they are written in. */
export const mutationVariables: ReadonlyMap<string, Type> = new Map([
  ...policyVariables,
  ['Object', parseType('type')],
  ['JSONPatch', parseType('type')],
])

/** What the variables of a request are made of. */
export interface Facts {
  readonly attributes: AdmissionAttributes
  /** The version in which expressions see the request. */
  readonly matched: Resource
  readonly object: KubeObject | undefined
  readonly oldObject: KubeObject | undefined
  readonly namespace: KubeObject | undefined
  readonly authorizer: Authorizer
}

/** Values of {@link policyVariables}, without `params`. */
export function variablesOf(facts: Facts): Map<string, Value> {
  const { attributes, object, oldObject, namespace, authorizer } = facts
  const decide = deciderOf(authorizer, attributes)
  const { info } = facts.matched
  const { subresource, name } = attributes
  const place = { group: info.group, resource: info.plural, subresource, namespace: attributes.namespace, name }
  return new Map<string, Value>([
    ['object', object === undefined ? null : fromJson(object)],
    ['oldObject', oldObject === undefined ? null : fromJson(oldObject)],
    ['request', read(requestType, renderRequest(facts))],
    ['authorizer', new AuthorizerValue(decide)],
    ['authorizer.requestResource', new ResourceCheck((check) => decide(check), place)],
    ['namespaceObject', namespace === undefined ? null : read(namespaceType, renderNamespace(namespace))],
  ])
}

function renderRequest({ attributes, matched }: Facts): unknown {
  const { resource, subresource, name, namespace, operation, identity, isDryRun, options } = attributes
  const { user, uid = '', groups, extra = {} } = identity
  const { info } = matched
  return {
    kind: kindOf({ kind: attributes.kind, resource: matched }),
    resource: { group: info.group, version: info.version, resource: info.plural },
    subResource: subresource,
    requestKind: kindOf(attributes),
    requestResource: { group: resource.info.group, version: resource.info.version, resource: resource.info.plural },
    requestSubResource: subresource,
    name,
    namespace,
    operation,
    userInfo: { username: user, uid, groups, extra },
    dryRun: isDryRun,
    options: options ?? {},
  }
}

function renderNamespace({ metadata, ...rest }: KubeObject): unknown {
  const { uid, ...others } = metadata
  return { ...rest, metadata: { ...others, UID: uid } }
}

/** A value of a type, as expressions see it. */
function read(type: Type, value: unknown): Value {
  if (value === null || value === undefined) return null
  if (type.kind === 'object' && typeof value === 'object') {
    const readers = new Map([...type.fields].map(([name, field]) => [name, (child: unknown) => read(field, child)]))
    return new CelObject(type.name, value as Record<string, unknown>, readers, new Map())
  }
  if (type.kind === 'list' && Array.isArray(value)) return value.map((item) => read(type.of, item))
  if (type.kind === 'map' && typeof value === 'object') {
    return new CelMap(Object.entries(value).map(([key, child]) => [key, read(type.value, child)]))
  }
  return type.kind === 'timestamp' && typeof value === 'string' ? parseTimestamp(value) : fromJson(value)
}

function deciderOf(authorizer: Authorizer, { identity }: AdmissionAttributes): Decide {
  return ({ verb, path, group, resource, subresource, namespace, name }, account) => {
    const groups = ['system:serviceaccounts', `system:serviceaccounts:${account?.namespace}`, 'system:authenticated']
    const asker =
      account === undefined ? identity : { user: `system:serviceaccount:${account.namespace}:${account.name}`, groups }
    return authorizer.decide(asker, { verb, group, resource, subresource, namespace, name, path })
  }
}
