import { BlockList, isIP } from 'node:net'

import type {
  IPBlock,
  NetworkPolicyPeer,
  NetworkPolicyPort,
  NetworkPolicySpec,
} from '@fairlead/kube/types/networking-v1'

import type { FieldError } from '../status.ts'
import { validateCidr } from './addresses.ts'
import { forbidden, invalid, required, unsupported } from './field-errors.ts'
import { ianaServiceName, portNumber } from './names.ts'
import { validateSelector } from './selectors.ts'

/** What is wrong with a NetworkPolicy. */
export function validateNetworkPolicy(spec: NetworkPolicySpec): FieldError[] {
  const { podSelector, ingress = [], egress = [], policyTypes = [] } = spec
  return [
    ...(podSelector === undefined ? [] : validateSelector(podSelector, 'spec.podSelector')),
    ...ingress.flatMap(({ ports, from }, index) => validateRule(ports, from, `spec.ingress[${index}]`, 'from')),
    ...egress.flatMap(({ ports, to }, index) => validateRule(ports, to, `spec.egress[${index}]`, 'to')),
    ...validateTypes(policyTypes),
  ]
}

const types = ['Ingress', 'Egress']
const protocols = ['TCP', 'UDP', 'SCTP']

function validateTypes(given: readonly string[]): FieldError[] {
  const field = 'spec.policyTypes'
  if (given.length > types.length) return [invalid(field, given, 'may not specify more than two policyTypes')]
  return given.flatMap((type, at) => (types.includes(type) ? [] : [unsupported(`${field}[${at}]`, type, types)]))
}

function validateRule(
  ports: readonly NetworkPolicyPort[] = [],
  peers: readonly NetworkPolicyPeer[] = [],
  path: string,
  direction: 'from' | 'to',
): FieldError[] {
  return [
    ...ports.flatMap((port, at) => validatePort(port, `${path}.ports[${at}]`)),
    ...peers.flatMap((peer, at) => validatePeer(peer, `${path}.${direction}[${at}]`)),
  ]
}

function validatePort({ protocol, port, endPort }: NetworkPolicyPort, path: string): FieldError[] {
  const errors =
    protocol === undefined || protocols.includes(protocol) ? [] : [unsupported(`${path}.protocol`, protocol, protocols)]
  const end = `${path}.endPort`
  if (typeof port === 'number') {
    errors.push(...portNumber(`${path}.port`, port))
    if (endPort === undefined) return errors
    // The value shown is upstream's: that of the port.
    if (endPort < port) errors.push(invalid(end, port, 'must be greater than or equal to `port`'))
    return [...errors, ...portNumber(end, endPort)]
  }
  const what = port === undefined ? 'not specified' : 'non-numeric'
  if (endPort !== undefined) errors.push(invalid(end, endPort, `may not be specified when \`port\` is ${what}`))
  return port === undefined ? errors : [...errors, ...ianaServiceName(`${path}.port`, port)]
}

function validatePeer({ podSelector, namespaceSelector, ipBlock }: NetworkPolicyPeer, path: string): FieldError[] {
  const errors = [
    ...(podSelector === undefined ? [] : validateSelector(podSelector, `${path}.podSelector`)),
    ...(namespaceSelector === undefined ? [] : validateSelector(namespaceSelector, `${path}.namespaceSelector`)),
    ...(ipBlock === undefined ? [] : validateBlock(ipBlock, `${path}.ipBlock`)),
  ]
  const others = [podSelector, namespaceSelector].filter((each) => each !== undefined).length
  if (ipBlock === undefined && others === 0) return [...errors, required(path, 'must specify a peer')]
  if (ipBlock === undefined || others === 0) return errors
  return [...errors, forbidden(path, 'may not specify both ipBlock and another peer')]
}

function validateBlock({ cidr, except = [] }: IPBlock, path: string): FieldError[] {
  if (cidr === '') return [required(`${path}.cidr`)]
  const errors = validateCidr(cidr, `${path}.cidr`)
  if (errors.length > 0) return errors
  return except.flatMap((part, at) => {
    const field = `${path}.except[${at}]`
    const faults = validateCidr(part, field)
    if (faults.length > 0 || isStrictlyInside(part, cidr)) return faults
    return [invalid(field, part, 'must be a strict subset of `cidr`')]
  })
}

function isStrictlyInside(part: string, whole: string): boolean {
  const [address = '', length = ''] = part.split('/')
  const [base = '', size = ''] = whole.split('/')
  if (isIP(address) !== isIP(base) || Number(length) <= Number(size)) return false
  const list = new BlockList()
  const family = isIP(base) === 6 ? 'ipv6' : 'ipv4'
  list.addSubnet(base, Number(size), family)
  return list.check(address, family)
}
