import { isIP } from 'node:net'

import type { ServiceSpec } from '@fairlead/kube/types/core-v1'

import type { FieldError } from '../status.ts'
import { duplicate, forbidden, invalid, notSupported, oneOf, unsupported } from './field-errors.ts'
import { labelKey, portNumber, qualifiedName } from './names.ts'

const ofBalancers = "may only be used when `type` is 'LoadBalancer'"
const distributions = ['PreferClose', 'PreferSameZone', 'PreferSameNode']
const longestAffinity = 86_400

/** What of a Service is about traffic from outside, its families and its affinity (ValidateService of upstream). */
export function validateTraffic(spec: ServiceSpec, old: ServiceSpec | undefined): FieldError[] {
  return [
    ...validateExternalPolicy(spec),
    ...validateBalancer(spec),
    ...validateHealthCheck(spec, old),
    ...validateExternalAddresses(spec.externalIPs ?? []),
    ...validateNodePorts(spec),
    ...validateFamilies(spec),
    ...validateAffinity(spec),
    ...(spec.trafficDistribution === undefined || distributions.includes(spec.trafficDistribution)
      ? []
      : [unsupported('spec.trafficDistribution', spec.trafficDistribution, distributions)]),
    ...validateClassChange(spec, old),
  ]
}

/** Whether a Service can be reached from outside. */
export function isExternal({ type = 'ClusterIP', externalIPs = [] }: ServiceSpec): boolean {
  return type === 'LoadBalancer' || type === 'NodePort' || (type === 'ClusterIP' && externalIPs.length > 0)
}

function validateExternalPolicy(spec: ServiceSpec): FieldError[] {
  const field = 'spec.externalTrafficPolicy'
  const { externalTrafficPolicy: policy } = spec
  if (isExternal(spec)) return oneOf(field, policy, ['Cluster', 'Local'])
  return policy === undefined ? [] : [invalid(field, policy, 'may only be set for externally-accessible services')]
}

function validateBalancer(spec: ServiceSpec): FieldError[] {
  const { type, loadBalancerClass: name, loadBalancerSourceRanges: ranges = [] } = spec
  const allocates = spec.allocateLoadBalancerNodePorts !== undefined
  const field = 'spec.loadBalancerClass'
  // As upstream spells it.
  const list = 'spec.LoadBalancerSourceRanges'
  if (type !== 'LoadBalancer') {
    return [
      ...(allocates ? [forbidden('spec.allocateLoadBalancerNodePorts', ofBalancers)] : []),
      ...(name === undefined ? [] : [forbidden(field, ofBalancers)]),
      ...(ranges.length === 0 ? [] : [forbidden(list, ofBalancers)]),
    ]
  }
  const bad = ranges.flatMap((range, index) =>
    isRange(range.trim())
      ? []
      : [invalid(`${list}[${index}]`, range, 'must be a valid CIDR value, (e.g. 10.9.8.0/24 or 2001:db8::/64)')],
  )
  return name === undefined ? bad : [...bad, ...labelKey(field, name)]
}

function isRange(text: string): boolean {
  const [address = '', bits = '', ...more] = text.split('/')
  const family = isIP(address)
  return family !== 0 && more.length === 0 && /^\d{1,3}$/.test(bits) && Number(bits) <= (family === 4 ? 32 : 128)
}

/** The port at which a balancer asks whether a node has endpoints: where traffic stays on the node, and once and for all. */
function validateHealthCheck(spec: ServiceSpec, old: ServiceSpec | undefined): FieldError[] {
  const { healthCheckNodePort: port = 0 } = spec
  const field = 'spec.healthCheckNodePort'
  const needs = needsHealthCheck(spec)
  const before = old?.healthCheckNodePort ?? 0
  const errors = port === 0 || (needs && port >= 1) ? [] : needs ? portNumber(field, port) : []
  if (!needs && port !== 0 && old === undefined) {
    const why = "may only be set when `type` is 'LoadBalancer' and `externalTrafficPolicy` is 'Local'"
    errors.push(invalid(field, port, why))
  }
  if (old !== undefined && needs && needsHealthCheck(old) && before !== 0 && port !== before) {
    errors.push(forbidden(field, 'field is immutable'))
  }
  return errors
}

function needsHealthCheck({ type, externalTrafficPolicy }: ServiceSpec): boolean {
  return type === 'LoadBalancer' && externalTrafficPolicy === 'Local'
}

function validateExternalAddresses(addresses: readonly string[]): FieldError[] {
  return addresses.flatMap((address, index) => {
    const field = `spec.externalIPs[${index}]`
    if (isIP(address) === 0) {
      return [invalid(field, address, 'must be a valid IP address, (e.g. 10.9.8.7 or 2001:db8::ffff)')]
    }
    const why = whyNotExternal(address)
    return why === undefined ? [] : [invalid(field, address, why)]
  })
}

function whyNotExternal(address: string): string | undefined {
  if (address === '0.0.0.0' || address === '::') return `may not be unspecified (${address})`
  if (address.startsWith('127.') || address === '::1') return 'may not be in the loopback range (127.0.0.0/8, ::1/128)'
  if (address.startsWith('169.254.') || /^fe[89ab][0-9a-f]:/i.test(address)) {
    return 'may not be in the link-local range (169.254.0.0/16, fe80::/10)'
  }
  const isLocalMulticast = address.startsWith('224.0.0.') || /^ff[0-9a-f]2:/i.test(address)
  return isLocalMulticast ? 'may not be in the link-local multicast range (224.0.0.0/24, ff02::/10)' : undefined
}

function validateNodePorts({ ports = [] }: ServiceSpec): FieldError[] {
  const taken = new Set<string>()
  return ports.flatMap(({ nodePort = 0, protocol, appProtocol }, index) => {
    const field = `spec.ports[${index}]`
    const errors = appProtocol === undefined ? [] : qualifiedName(`${field}.appProtocol`, appProtocol)
    const key = `${protocol} ${nodePort}`
    if (nodePort !== 0 && taken.has(key)) errors.push(duplicate(`${field}.nodePort`, nodePort))
    taken.add(key)
    return errors
  })
}

const families = ['IPv4', 'IPv6']

function validateFamilies({ ipFamilies = [], ipFamilyPolicy }: ServiceSpec): FieldError[] {
  const policies = ['PreferDualStack', 'RequireDualStack', 'SingleStack']
  return [
    ...oneOf('spec.ipFamilyPolicy', ipFamilyPolicy, policies),
    ...ipFamilies.flatMap((family, index) => {
      const field = `spec.ipFamilies[${index}]`
      if (!families.includes(family)) return [notSupported(field, family, families)]
      return ipFamilies.indexOf(family) < index ? [duplicate(field, family)] : []
    }),
  ]
}

function validateAffinity({ sessionAffinity, sessionAffinityConfig }: ServiceSpec): FieldError[] {
  const seconds = sessionAffinityConfig?.clientIP?.timeoutSeconds
  if (sessionAffinity !== 'ClientIP' || seconds === undefined) return []
  if (seconds > 0 && seconds <= longestAffinity) return []
  const why = `must be greater than 0 and less than ${longestAffinity}`
  return [invalid('spec.sessionAffinityConfig.clientIP.timeoutSeconds', seconds, why)]
}

function validateClassChange(spec: ServiceSpec, old: ServiceSpec | undefined): FieldError[] {
  const { type, loadBalancerClass: name } = spec
  // Upstream tells it of an update twice.
  if (old !== undefined && type !== 'LoadBalancer' && name !== undefined) {
    return [forbidden('spec.loadBalancerClass', ofBalancers)]
  }
  if (old?.type !== 'LoadBalancer' || type !== 'LoadBalancer') return []
  return name === old.loadBalancerClass ? [] : [invalid('spec.loadBalancerClass', name, 'may not change once set')]
}
