import { isIP, isIPv6 } from 'node:net'

import type { Endpoints } from '@fairlead/kube/types/core-v1'
import type { EndpointSlice } from '@fairlead/kube/types/discovery-v1'

import { defineKind } from './define.ts'
import { immutable, invalid, notSupported, oneOf, required } from './field-errors.ts'
import { dnsLabel, portNumber } from './names.ts'
import { age, ageColumn, column, firstThree, nameColumn } from './printing.ts'
import type { FieldError } from '../status.ts'
import type { KindStrategy } from '../strategy.ts'

const protocols = ['TCP', 'UDP', 'SCTP']

export const endpoints: KindStrategy = defineKind<Endpoints>({
  default(object) {
    for (const { ports = [] } of object.subsets ?? []) for (const port of ports) port.protocol ??= 'TCP'
  },
  validate(object) {
    return (object.subsets ?? []).flatMap((subset, index) => {
      const path = `subsets[${index}]`
      const addresses = [...(subset.addresses ?? []), ...(subset.notReadyAddresses ?? [])]
      return [
        ...(addresses.length === 0 ? [required(path, 'must specify `addresses` or `notReadyAddresses`')] : []),
        ...addresses.flatMap(({ ip }, at) => validateAddress(ip, `${path}.addresses[${at}].ip`)),
        ...(subset.ports ?? []).flatMap(({ port, protocol }, at) => [
          ...portNumber(`${path}.ports[${at}].port`, port),
          ...oneOf(`${path}.ports[${at}].protocol`, protocol, protocols),
        ]),
      ]
    })
  },
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
    for (const port of object.ports ?? []) {
      port.name ??= ''
      port.protocol ??= 'TCP'
    }
  },
  validate(object, old) {
    const { addressType, endpoints: list = [], ports = [] } = object
    const before = old?.addressType
    return [
      ...(['FQDN', 'IPv4', 'IPv6'].includes(addressType)
        ? []
        : [notSupported('addressType', addressType ?? '', ['FQDN', 'IPv4', 'IPv6'])]),
      ...(before === undefined ? [] : immutable('addressType', addressType, addressType === before)),
      ...list.flatMap(({ addresses }, index) => {
        const path = `endpoints[${index}].addresses`
        if (addresses.length === 0) return [required(path, 'must contain at least 1 address')]
        return addressType === 'FQDN' ? [] : addresses.flatMap((ip, at) => validateAddress(ip, `${path}[${at}]`))
      }),
      ...ports.flatMap(({ name = '', port, protocol }, index) => [
        ...(name === '' ? [] : dnsLabel(`ports[${index}].name`, name)),
        ...(port === undefined ? [] : portNumber(`ports[${index}].port`, port)),
        ...oneOf(`ports[${index}].protocol`, protocol, protocols),
      ]),
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

function validateAddress(ip: string, field: string): FieldError[] {
  if (isIP(ip) === 0) return [invalid(field, ip, 'must be a valid IP address, (e.g. 10.9.8.7 or 2001:db8::ffff)')]
  // Kubernetes refuses loopback addresses here; pods that are plain processes have no others.
  return []
}
