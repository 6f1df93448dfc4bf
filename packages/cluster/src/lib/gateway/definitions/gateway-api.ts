import type { Kind } from './definition.ts'
import { anything, boolean, conditions, integer, list, listBy, map, object, port, string } from './schema.ts'
import type { Schema } from './schema.ts'

// Fields, defaults and bounds of Gateway API v1.4, standard channel. Left out: its CEL rules, which refuse some
// combinations that here are told by conditions instead.

const group = 'gateway.networking.k8s.io'
const categories = ['gateway-api']
const age = ['Age', '.metadata.creationTimestamp', 'date'] as const

const name = string({ minLength: 1, maxLength: 253 })
const namespace = string({ minLength: 1, maxLength: 63, pattern: '^[a-z0-9]([-a-z0-9]*[a-z0-9])?$' })
const kindName = string({ minLength: 1, maxLength: 63, pattern: '^[a-zA-Z]([-a-zA-Z0-9]*[a-zA-Z0-9])?$' })
const hostPattern = String.raw`^(\*\.)?[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*$`
const hostname = string({ minLength: 1, maxLength: 253, pattern: hostPattern })
const preciseHostname = string({ minLength: 1, maxLength: 253, pattern: hostPattern.replace(String.raw`(\*\.)?`, '') })
const groupName = (more = {}): Schema => string({ maxLength: 253, ...more })
const headerName = string({ minLength: 1, maxLength: 256, pattern: "^[A-Za-z0-9!#$%&'*+\\-.^_\\x60|~]+$" })
const duration = string({ pattern: '^([0-9]{1,5}(h|m|s|ms)){1,4}$' })
const atomic = { 'x-kubernetes-list-type': 'atomic' }

const parentRef = object(
  {
    group: groupName({ default: group }),
    kind: { ...kindName, default: 'Gateway' },
    namespace,
    name,
    sectionName: name,
    port,
  },
  { required: ['name'] },
)

const backendRef = {
  group: groupName({ default: '' }),
  kind: { ...kindName, default: 'Service' },
  namespace,
  name,
  port,
}

const header = object(
  { name: headerName, value: string({ minLength: 1, maxLength: 4096 }) },
  { required: ['name', 'value'] },
)
const headerModifier = object({
  set: listBy('name', header, { maxItems: 16 }),
  add: listBy('name', header, { maxItems: 16 }),
  remove: list(string(), { maxItems: 16, 'x-kubernetes-list-type': 'set' }),
})
const pathModifier = object(
  {
    type: string({ enum: ['ReplaceFullPath', 'ReplacePrefixMatch'] }),
    replaceFullPath: string({ maxLength: 1024 }),
    replacePrefixMatch: string({ maxLength: 1024 }),
  },
  { required: ['type'] },
)

const commonFilters = {
  requestHeaderModifier: headerModifier,
  responseHeaderModifier: headerModifier,
  requestMirror: object(
    {
      backendRef: object(backendRef, { required: ['name'] }),
      percent: integer({ format: 'int32', minimum: 0, maximum: 100 }),
      fraction: object(
        {
          numerator: integer({ format: 'int32', minimum: 0 }),
          denominator: integer({ format: 'int32', minimum: 1, default: 100 }),
        },
        { required: ['numerator'] },
      ),
    },
    { required: ['backendRef'] },
  ),
  extensionRef: object({ group: groupName(), kind: kindName, name }, { required: ['group', 'kind', 'name'] }),
}
const commonTypes = ['RequestHeaderModifier', 'ResponseHeaderModifier', 'RequestMirror', 'ExtensionRef']

const httpFilters = list(
  object(
    {
      type: string({ enum: [...commonTypes, 'RequestRedirect', 'URLRewrite'] }),
      ...commonFilters,
      requestRedirect: object({
        scheme: string({ enum: ['http', 'https'] }),
        hostname: preciseHostname,
        path: pathModifier,
        port,
        statusCode: integer({ default: 302, enum: [301, 302] }),
      }),
      urlRewrite: object({ hostname: preciseHostname, path: pathModifier }),
    },
    { required: ['type'] },
  ),
  { maxItems: 16, ...atomic },
)
const grpcFilters = list(object({ type: string({ enum: commonTypes }), ...commonFilters }, { required: ['type'] }), {
  maxItems: 16,
  ...atomic,
})

const weight = integer({ format: 'int32', default: 1, minimum: 0, maximum: 1_000_000 })
const backendRefs = (filters: Schema): Schema =>
  list(object({ ...backendRef, weight, filters }, { required: ['name'] }), { maxItems: 16, ...atomic })

const matchType = string({ default: 'Exact', enum: ['Exact', 'RegularExpression'] })
const headerMatches = listBy(
  'name',
  object(
    { type: matchType, name: headerName, value: string({ minLength: 1, maxLength: 4096 }) },
    { required: ['name', 'value'] },
  ),
  { maxItems: 16 },
)
const anyPath = { type: 'PathPrefix', value: '/' }

const httpRule = object({
  name,
  matches: list(
    object({
      path: object(
        {
          type: string({ default: 'PathPrefix', enum: ['Exact', 'PathPrefix', 'RegularExpression'] }),
          value: string({ default: '/', maxLength: 1024 }),
        },
        { default: anyPath },
      ),
      headers: headerMatches,
      queryParams: listBy(
        'name',
        object(
          { type: matchType, name: headerName, value: string({ minLength: 1, maxLength: 1024 }) },
          { required: ['name', 'value'] },
        ),
        { maxItems: 16 },
      ),
      method: string({ enum: ['GET', 'HEAD', 'POST', 'PUT', 'DELETE', 'CONNECT', 'OPTIONS', 'TRACE', 'PATCH'] }),
    }),
    { default: [{ path: anyPath }], maxItems: 64, ...atomic },
  ),
  filters: httpFilters,
  backendRefs: backendRefs(httpFilters),
  timeouts: object({ request: duration, backendRequest: duration }),
})

const grpcRule = object({
  name,
  matches: list(
    object({
      method: object({
        type: matchType,
        service: string({ maxLength: 1024 }),
        method: string({ maxLength: 1024 }),
      }),
      headers: headerMatches,
    }),
    { maxItems: 64, ...atomic },
  ),
  filters: grpcFilters,
  backendRefs: backendRefs(grpcFilters),
})

const routeStatus = object({
  parents: list(
    object({ parentRef, controllerName: string(), conditions }, { required: ['parentRef', 'controllerName'] }),
    { maxItems: 32, ...atomic },
  ),
})

function routeSpec(rule: Schema, more: Record<string, unknown> = {}): Schema {
  return object({
    parentRefs: list(parentRef, { maxItems: 32, ...atomic }),
    hostnames: list(hostname, { maxItems: 16, ...atomic }),
    rules: list(rule, { maxItems: 16, ...atomic, ...more }),
  })
}

const selector = object({
  matchLabels: map(string()),
  matchExpressions: list(
    object({ key: string(), operator: string(), values: list(string(), atomic) }, { required: ['key', 'operator'] }),
    atomic,
  ),
})

const listener = object(
  {
    name,
    hostname,
    port,
    protocol: string({ minLength: 1, maxLength: 255 }),
    tls: object({
      mode: string({ default: 'Terminate', enum: ['Terminate', 'Passthrough'] }),
      certificateRefs: list(
        object(
          { group: groupName({ default: '' }), kind: { ...kindName, default: 'Secret' }, namespace, name },
          { required: ['name'] },
        ),
        { maxItems: 64, ...atomic },
      ),
      options: map(string({ maxLength: 4096 })),
    }),
    allowedRoutes: object(
      {
        namespaces: object(
          { from: string({ default: 'Same', enum: ['All', 'Selector', 'Same'] }), selector },
          { default: { from: 'Same' } },
        ),
        kinds: list(object({ group: groupName({ default: group }), kind: kindName }, { required: ['kind'] }), {
          maxItems: 8,
          ...atomic,
        }),
      },
      { default: { namespaces: { from: 'Same' } } },
    ),
  },
  { required: ['name', 'port', 'protocol'] },
)

const listenerStatus = object(
  {
    name,
    supportedKinds: list(
      object({ group: groupName({ default: group }), kind: kindName }, { required: ['kind'] }),
      atomic,
    ),
    attachedRoutes: integer({ format: 'int32' }),
    conditions,
  },
  { required: ['name', 'supportedKinds', 'attachedRoutes', 'conditions'] },
)

const pending = (type: string): Record<string, string> => ({
  type,
  status: 'Unknown',
  reason: 'Pending',
  message: 'Waiting for controller',
  lastTransitionTime: '1970-01-01T00:00:00Z',
})

export const gatewayApiKinds: readonly Kind[] = [
  {
    group,
    kind: 'GatewayClass',
    plural: 'gatewayclasses',
    shortNames: ['gc'],
    categories,
    isClusterWide: true,
    versions: ['v1', 'v1beta1'],
    spec: object(
      {
        controllerName: string({ minLength: 1, maxLength: 253 }),
        description: string({ maxLength: 64 }),
        parametersRef: anything,
      },
      { required: ['controllerName'] },
    ),
    status: object(
      { conditions, supportedFeatures: listBy('name', object({ name: string() }, { required: ['name'] })) },
      { default: { conditions: [pending('Accepted')] } },
    ),
    columns: [
      ['Controller', '.spec.controllerName'],
      ['Accepted', '.status.conditions[?(@.type=="Accepted")].status'],
      age,
    ],
  },
  {
    group,
    kind: 'Gateway',
    plural: 'gateways',
    shortNames: ['gtw'],
    categories,
    versions: ['v1', 'v1beta1'],
    spec: object(
      {
        gatewayClassName: name,
        listeners: listBy('name', listener, { minItems: 1, maxItems: 64 }),
        addresses: list(
          object({
            type: string({ default: 'IPAddress', minLength: 1, maxLength: 253 }),
            value: string({ maxLength: 253 }),
          }),
          { maxItems: 16, ...atomic },
        ),
        infrastructure: object({ labels: map(string()), annotations: map(string()), parametersRef: anything }),
      },
      { required: ['gatewayClassName', 'listeners'] },
    ),
    status: object(
      {
        addresses: list(object({ type: string({ default: 'IPAddress' }), value: string() }, { required: ['value'] }), {
          maxItems: 16,
          ...atomic,
        }),
        conditions,
        listeners: listBy('name', listenerStatus, { maxItems: 64 }),
      },
      { default: { conditions: [pending('Accepted'), pending('Programmed')] } },
    ),
    columns: [
      ['Class', '.spec.gatewayClassName'],
      ['Address', '.status.addresses[*].value'],
      ['Programmed', '.status.conditions[?(@.type=="Programmed")].status'],
      age,
    ],
  },
  {
    group,
    kind: 'HTTPRoute',
    plural: 'httproutes',
    categories,
    versions: ['v1', 'v1beta1'],
    spec: routeSpec(httpRule, { default: [{ matches: [{ path: anyPath }] }] }),
    status: routeStatus,
    columns: [['Hostnames', '.spec.hostnames'], age],
  },
  {
    group,
    kind: 'GRPCRoute',
    plural: 'grpcroutes',
    categories,
    versions: ['v1'],
    isSpecRequired: false,
    spec: routeSpec(grpcRule),
    status: routeStatus,
    columns: [['Hostnames', '.spec.hostnames'], age],
  },
  {
    group,
    kind: 'ReferenceGrant',
    plural: 'referencegrants',
    shortNames: ['refgrant'],
    categories,
    versions: ['v1beta1'],
    isSpecRequired: false,
    spec: object(
      {
        from: list(
          object({ group: groupName(), kind: kindName, namespace }, { required: ['group', 'kind', 'namespace'] }),
          { minItems: 1, maxItems: 16, ...atomic },
        ),
        to: list(object({ group: groupName(), kind: kindName, name }, { required: ['group', 'kind'] }), {
          minItems: 1,
          maxItems: 16,
          ...atomic,
        }),
      },
      { required: ['from', 'to'] },
    ),
    status: { type: 'object', properties: { ready: boolean() } },
    columns: [age],
  },
]
