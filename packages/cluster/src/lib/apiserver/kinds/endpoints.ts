import { isIP, isIPv6 } from 'node:net'

import type { EndpointAddress, EndpointPort, Endpoints } from '@fairlead/kube/types/core-v1'
import type { EndpointSlice } from '@fairlead/kube/types/discovery-v1'

import { defineKind } from './define.ts'
import { duplicate, immutable, invalid, notSupported, oneOf, required, tooMany } from './field-errors.ts'
import { dnsLabel, dnsSubdomain, labelValue, portNumber, qualifiedName } from './names.ts'
import { isEqual } from '../metadata.ts'
import { age, ageColumn, column, firstThree, nameColumn } from './printing.ts'
import type { FieldError } from '../status.ts'
import type { KindStrategy } from '../strategy.ts'

const protocols = ['TCP', 'UDP', 'SCTP']

export const endpoints: KindStrategy = defineKind<Endpoints>({
  default(object) {
    for (const { ports = [] } of object.subsets ?? []) for (const port of ports) port.protocol ??= 'TCP'
  },
  validate: ({ subsets = [] }) =>
    subsets.flatMap(({ addresses = [], notReadyAddresses = [], ports = [] }, index) => {
      const path = `subsets[${index}]`
      return [
        ...(addresses.length + notReadyAddresses.length === 0
          ? [required(path, 'must specify `addresses` or `notReadyAddresses`')]
          : []),
        ...addresses.flatMap((each, at) => validateEndpoint(each, `${path}.addresses[${at}]`)),
        ...notReadyAddresses.flatMap((each, at) => validateEndpoint(each, `${path}.notReadyAddresses[${at}]`)),
        ...ports.flatMap((port, at) => validatePort(port, `${path}.ports[${at}]`, ports.length > 1)),
      ]
    }),
  columns: [nameColumn, column('Endpoints'), ageColumn],
  row(object, now) {
    const { metadata, subsets = [] } = object
    const list = subsets.flatMap(({ addresses = [], ports = [] }) => {
      const ips = addresses.map(({ ip }) => ip)
      if (ports.length === 0) return ips
      return ports.flatMap(({ port }) => ips.map((ip) => (isIPv6(ip) ? `[${ip}]:${port}` : `${ip}:${port}`)))
    })
    return [metadata.name, firstThree(list, '<none>'), age(metadata.creationTimestamp, now)]
  },
})

export const endpointSlice: KindStrategy = defineKind<EndpointSlice>({
  default(object) {
    // Not a pointer in Go: it is written even when nothing is said.
    for (const endpoint of object.endpoints ?? []) endpoint.conditions ??= {}
    for (const port of object.ports ?? []) {
      port.name ??= ''
      port.protocol ??= 'TCP'
    }
  },
  validate(object, old) {
    const { addressType, endpoints: list = [], ports = [] } = object
    const before = old?.addressType
    const ofEndpoints = validateEndpoints(list, addressType)
    // What is there already may stay as it is.
    const isOld = ofEndpoints.length > 0 && old !== undefined && isEqual(old.endpoints ?? [], list)
    return [
      ...(addressType === '' ? [required('addressType')] : oneOf('addressType', addressType, addressTypes)),
      ...validatePorts(ports),
      ...(isOld ? [] : ofEndpoints),
      ...(before === undefined ? [] : immutable('addressType', addressType, addressType === before)),
    ]
  },
  columns: [nameColumn, column('AddressType'), column('Ports'), column('Endpoints'), ageColumn],
  row(object, now) {
    const { metadata, addressType, ports = [], endpoints: list = [] } = object
    return [
      metadata.name,
      addressType,
      firstThree(
        ports.map(({ port, name }) => String(port ?? name ?? '*')),
        '<unset>',
      ),
      firstThree(
        list.flatMap(({ addresses }) => addresses),
        '<unset>',
      ),
      age(metadata.creationTimestamp, now),
    ]
  },
})

function validateEndpoint({ ip, hostname = '', nodeName }: EndpointAddress, path: string): FieldError[] {
  return [
    ...(isIP(ip) === 0 ? [invalid(`${path}.ip`, ip, 'must be a valid IP address')] : []),
    ...(hostname === '' ? [] : dnsLabel(`${path}.hostname`, hostname)),
    ...(nodeName === undefined ? [] : dnsSubdomain(`${path}.nodeName`, nodeName)),
    ...validateAddress(ip, `${path}.ip`),
  ]
}

function validatePort({ name = '', port, protocol }: EndpointPort, path: string, needsName: boolean): FieldError[] {
  return [
    ...(name === '' ? (needsName ? [required(`${path}.name`)] : []) : dnsLabel(`${path}.name`, name)),
    ...portNumber(`${path}.port`, port),
    ...oneOf(`${path}.protocol`, protocol, protocols),
  ]
}

const addressTypes = ['FQDN', 'IPv4', 'IPv6']
const most = { endpoints: 1000, ports: 20_000, addresses: 100, hints: 8 }

function validatePorts(ports: NonNullable<EndpointSlice['ports']>): FieldError[] {
  if (ports.length > most.ports) return [tooMany('ports', ports.length, most.ports)]
  const seen = new Set<string>()
  return ports.flatMap(({ name = '', protocol = '', appProtocol }, index) => {
    const path = `ports[${index}]`
    const isRepeated = seen.has(name)
    seen.add(name)
    return [
      ...(name === '' ? [] : dnsLabel(`${path}.name`, name)),
      ...(isRepeated ? [duplicate(`${path}.name`, name)] : []),
      ...(protocols.includes(protocol) ? [] : [notSupported(`${path}.protocol`, protocol, protocols)]),
      ...(appProtocol === undefined ? [] : qualifiedName(`${path}.appProtocol`, appProtocol)),
    ]
  })
}

type SliceEndpoint = NonNullable<EndpointSlice['endpoints']>[number]

function validateEndpoints(list: readonly SliceEndpoint[], addressType: string): FieldError[] {
  if (list.length > most.endpoints) return [tooMany('endpoints', list.length, most.endpoints)]
  return list.flatMap(({ addresses, nodeName, hostname, hints }, index) => {
    const path = `endpoints[${index}]`
    return [
      ...(addresses.length === 0 ? [required(`${path}.addresses`, 'must contain at least 1 address')] : []),
      ...(addresses.length > most.addresses ? [tooMany(`${path}.addresses`, addresses.length, most.addresses)] : []),
      ...addresses.flatMap((address, at) => validateOfType(address, addressType, `${path}.addresses`, at)),
      ...(nodeName === undefined ? [] : dnsSubdomain(`${path}.nodeName`, nodeName)),
      ...(hostname === undefined ? [] : dnsLabel(`${path}.hostname`, hostname)),
      ...validateHints(hints?.forZones ?? [], `${path}.hints.forZones`, labelValue),
      ...validateHints(hints?.forNodes ?? [], `${path}.hints.forNodes`, dnsSubdomain),
    ]
  })
}

function validateOfType(address: string, addressType: string, path: string, index: number): FieldError[] {
  const field = `${path}[${index}]`
  if (addressType === 'FQDN') return domainName(field, address)
  if (addressType !== 'IPv4' && addressType !== 'IPv6') return []
  const errors = validateAddress(address, field)
  if (errors.length > 0 || isIP(address) === (addressType === 'IPv4' ? 4 : 6)) return errors
  return [invalid(path, address, `must be an ${addressType} address`)]
}

/** A name with at least two labels; a dot at the end is fine. */
function domainName(field: string, name: string): FieldError[] {
  if (name === '') return [required(field)]
  const bare = name.replace(/\.$/, '')
  const errors = dnsSubdomain(field, bare).map(({ message, ...rest }) => ({
    ...rest,
    message: message.replace(JSON.stringify(bare), JSON.stringify(name)),
  }))
  const labels = bare.split('.')
  if (errors.length > 0) return errors
  if (labels.length < 2)
    return [invalid(field, name, 'should be a domain with at least two segments separated by dots')]
  return labels.flatMap((label) => dnsLabel(field, label))
}

function validateHints(
  hints: readonly { name: string }[],
  path: string,
  rule: (field: string, value: string) => FieldError[],
): FieldError[] {
  if (hints.length > most.hints) return [tooMany(path, hints.length, most.hints)]
  return hints.flatMap(({ name }, index) => {
    const field = `${path}[${index}].name`
    const isRepeated = hints.findIndex((other) => other.name === name) < index
    return [...(isRepeated ? [duplicate(field, name)] : []), ...rule(field, name)]
  })
}

function validateAddress(ip: string, field: string): FieldError[] {
  if (isIP(ip) === 0) return [invalid(field, ip, 'must be a valid IP address, (e.g. 10.9.8.7 or 2001:db8::ffff)')]
  // Kubernetes refuses loopback addresses here; pods that are plain processes have no others.
  const kind = specialPlace(ip)
  return kind === undefined ? [] : [invalid(field, ip, kind)]
}

function specialPlace(ip: string): string | undefined {
  if (ip === '0.0.0.0' || /^[0:]+$/.test(ip)) return `may not be unspecified (${ip})`
  if (ip.startsWith('169.254.') || /^fe[89ab][0-9a-f]:/i.test(ip)) {
    return 'may not be in the link-local range (169.254.0.0/16, fe80::/10)'
  }
  if (!ip.startsWith('224.0.0.') && !/^ff02:/i.test(ip)) return undefined
  return 'may not be in the link-local multicast range (224.0.0.0/24, ff02::/10)'
}
