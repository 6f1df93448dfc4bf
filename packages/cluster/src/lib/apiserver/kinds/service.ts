import type { Service, ServicePort, ServiceSpec } from '@fairlead/kube/types/core-v1'

import { defineKind } from './define.ts'
import { duplicate, forbidden, invalid, notSupported, oneOf, required } from './field-errors.ts'
import { dnsLabel, dnsLabel1035, dnsSubdomain, labels, portNumber, portReference } from './names.ts'
import { age, ageColumn, column, formatLabels, nameColumn, orNone, wideColumn } from './printing.ts'
import { isExternal, validateTraffic } from './service-rules.ts'
import type { FieldError } from '../status.ts'
import type { KindStrategy } from '../strategy.ts'

const types = ['ClusterIP', 'ExternalName', 'LoadBalancer', 'NodePort']

export const service: KindStrategy = defineKind<Service>({
  create(object) {
    object.status = { loadBalancer: {} }
  },
  update(object, old) {
    dropOfOtherTypes(object.spec, old.spec)
    // What a load balancer had given is nothing without one.
    if (object.spec?.type !== 'LoadBalancer') object.status = { ...object.status, loadBalancer: {} }
  },
  default(object) {
    const { spec } = object
    if (spec === undefined) return
    spec.type ??= 'ClusterIP'
    spec.sessionAffinity ??= 'None'
    if (spec.sessionAffinity === 'None') delete spec.sessionAffinityConfig
    if (spec.sessionAffinity === 'ClientIP') {
      spec.sessionAffinityConfig ??= {}
      spec.sessionAffinityConfig.clientIP ??= {}
      spec.sessionAffinityConfig.clientIP.timeoutSeconds ??= 10_800
    }
    for (const port of spec.ports ?? []) {
      if ((port.protocol ?? '') === '') port.protocol = 'TCP'
      if ((port.targetPort ?? 0) === 0 || port.targetPort === '') port.targetPort = port.port
    }
    defaultPolicies(spec)
  },
  validate(object, old) {
    const { metadata, spec } = object
    if (spec === undefined) return [required('spec')]
    return [
      ...(old === undefined ? dnsLabel1035('metadata.name', metadata.name ?? '') : []),
      ...labels('spec.selector', spec.selector),
      ...validateType(spec),
      ...validateAddress(spec, old?.spec),
      ...validatePorts(spec),
      ...validateTraffic(spec, old?.spec),
    ]
  },
  fields(object) {
    const { spec } = object
    return { 'spec.clusterIP': spec?.clusterIP ?? '', 'spec.type': spec?.type ?? '' }
  },
  columns: [
    nameColumn,
    column('Type'),
    column('Cluster-IP'),
    column('External-IP'),
    column('Port(s)'),
    ageColumn,
    wideColumn('Selector'),
  ],
  row(object, now) {
    const each = object
    return [
      each.metadata.name,
      each.spec?.type ?? '',
      orNone(each.spec?.clusterIPs?.[0] ?? each.spec?.clusterIP),
      externalAddress(each),
      orNone((each.spec?.ports ?? []).map(formatPort).join(',')),
      age(each.metadata.creationTimestamp, now),
      formatLabels(each.spec?.selector),
    ]
  },
})

function defaultPolicies(spec: ServiceSpec): void {
  if (spec.externalTrafficPolicy === '') delete spec.externalTrafficPolicy
  if (spec.type !== 'ExternalName') spec.internalTrafficPolicy ??= 'Cluster'
  if (isExternal(spec)) spec.externalTrafficPolicy ??= 'Cluster'
  if (spec.type === 'LoadBalancer') spec.allocateLoadBalancerNodePorts ??= true
}

/** What was filled in for the type before and nobody changed goes with it; the rest is for validation to judge. */
function dropOfOtherTypes(spec: ServiceSpec | undefined, old: ServiceSpec | undefined): void {
  if (spec === undefined || old === undefined) return
  const drop = (key: 'allocateLoadBalancerNodePorts' | 'externalTrafficPolicy' | 'loadBalancerClass'): void => {
    if (spec[key] === old[key]) delete spec[key]
  }
  if (isExternal(old) && !isExternal(spec)) drop('externalTrafficPolicy')
  if (old.type !== 'LoadBalancer' || spec.type === 'LoadBalancer') return
  drop('allocateLoadBalancerNodePorts')
  drop('loadBalancerClass')
}

function validateType(spec: ServiceSpec): FieldError[] {
  const errors = oneOf('spec.type', spec.type, types)
  if (spec.type === 'ExternalName') {
    const name = (spec.externalName ?? '').replace(/\.$/, '')
    return [...errors, ...(name === '' ? [required('spec.externalName')] : dnsSubdomain('spec.externalName', name))]
  }
  if (spec.clusterIP === 'None' && spec.type !== 'ClusterIP') {
    errors.push(invalid('spec.clusterIPs[0]', 'None', `may not be set to 'None' for ${spec.type} services`))
  }
  if (spec.clusterIP !== 'None' && (spec.ports ?? []).length === 0) errors.push(required('spec.ports'))
  return [
    ...errors,
    ...oneOf('spec.sessionAffinity', spec.sessionAffinity, ['ClientIP', 'None']),
    ...oneOf('spec.internalTrafficPolicy', spec.internalTrafficPolicy, ['Cluster', 'Local']),
  ]
}

/** Proxies, name servers and clients keep the address: it stays as long as the service is one that has it. */
function validateAddress(spec: ServiceSpec, old: ServiceSpec | undefined): FieldError[] {
  const before = old?.type === 'ExternalName' ? '' : (old?.clusterIP ?? '')
  if (before === '' || spec.type === 'ExternalName' || spec.clusterIP === before) return []
  return [invalid('spec.clusterIPs[0]', [spec.clusterIP], 'may not change once set')]
}

function validatePorts({ ports = [], type }: ServiceSpec): FieldError[] {
  const names = new Set<string>()
  const pairs = new Set<string>()
  return ports.flatMap((port, index) => {
    const path = `spec.ports[${index}]`
    const errors = validatePort(port, path, ports.length > 1)
    const pair = `${port.protocol} ${port.port}`
    const name = port.name ?? ''
    if (name !== '' && names.has(name)) errors.push(duplicate(`${path}.name`, name))
    if (pairs.has(pair)) errors.push(duplicate(path, { port: port.port, protocol: port.protocol }))
    names.add(name)
    pairs.add(pair)
    if ((port.nodePort ?? 0) !== 0 && (type === 'ClusterIP' || type === 'ExternalName')) {
      errors.push(forbidden(`${path}.nodePort`, `may not be used when \`type\` is '${type}'`))
    }
    return errors
  })
}

function validatePort(
  { name = '', port, protocol, targetPort }: ServicePort,
  path: string,
  isNamed: boolean,
): FieldError[] {
  return [
    ...(name === '' ? (isNamed ? [required(`${path}.name`)] : []) : dnsLabel(`${path}.name`, name)),
    ...portNumber(`${path}.port`, port),
    ...(['TCP', 'UDP', 'SCTP'].includes(protocol ?? '')
      ? []
      : [notSupported(`${path}.protocol`, protocol, ['TCP', 'UDP', 'SCTP'])]),
    ...(targetPort === undefined ? [] : portReference(`${path}.targetPort`, targetPort)),
  ]
}

function externalAddress({ spec, status }: Service): string {
  const external = spec?.externalIPs ?? []
  if (spec?.type === 'ExternalName') return spec.externalName ?? ''
  if (spec?.type !== 'LoadBalancer') return orNone(external.join(','))
  const given = (status?.loadBalancer?.ingress ?? []).map(({ ip, hostname }) => ip ?? hostname ?? '')
  const all = [...new Set(given.toSorted()), ...external].filter((address) => address !== '')
  return all.length === 0 ? '<pending>' : all.join(',')
}

function formatPort({ port, nodePort = 0, protocol = 'TCP' }: ServicePort): string {
  return nodePort === 0 ? `${port}/${protocol}` : `${port}:${nodePort}/${protocol}`
}
