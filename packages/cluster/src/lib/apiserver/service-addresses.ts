import { randomInt } from 'node:crypto'
import { isIPv4 } from 'node:net'

import type { KubeObject } from '@fairlead/kube/types'
import type { Service, ServicePort, ServiceSpec } from '@fairlead/kube/types/core-v1'

import type { FieldError } from './status.ts'

/** Hands out cluster addresses and node ports; the services in the store say which are taken. */
export class ServiceAddresses {
  readonly #first: number
  readonly #last: number
  readonly #lowPort: number
  readonly #highPort: number
  readonly #addresses = new Map<string, string>()
  readonly #ports = new Map<number, string>()
  #nextAddress: number
  #nextPort: number

  constructor(serviceCidr: string, nodePortRange: string) {
    const { first, last, dynamic } = parseCidr(serviceCidr)
    const [low = 30000, high = 32767] = nodePortRange.split('-').map(Number)
    this.#first = first
    this.#last = last
    this.#lowPort = low
    this.#highPort = high
    this.#nextAddress = dynamic
    // A random start, as Kubernetes chooses at random: clusters that share this machine's loopback seldom collide.
    this.#nextPort = randomInt(low, high + 1)
  }

  /** Marks what a stored service holds as taken. */
  take(service: KubeObject): void {
    const owner = ownerOf(service)
    for (const address of addressesOf(service)) this.#addresses.set(address, owner)
    for (const port of portsOf(service)) this.#ports.set(port, owner)
  }

  /** Gives back what `service` held and `kept`, its next version, no longer holds. */
  release(service: KubeObject, kept?: KubeObject): void {
    const owner = ownerOf(service)
    const addresses = new Set(kept === undefined ? [] : addressesOf(kept))
    const ports = new Set(kept === undefined ? [] : portsOf(kept))
    for (const address of addressesOf(service)) {
      if (!addresses.has(address) && this.#addresses.get(address) === owner) this.#addresses.delete(address)
    }
    for (const port of portsOf(service)) {
      if (!ports.has(port) && this.#ports.get(port) === owner) this.#ports.delete(port)
    }
  }

  /** Fills in what `object` needs, keeping what `old` had; returns what is wrong with addresses it asks for. */
  assign(object: KubeObject, old: KubeObject | undefined): FieldError[] {
    const { spec } = object as Service
    if (spec === undefined) return []
    const before = (old as Service | undefined)?.spec
    // What a service of the same name holds is taken for a new one as well.
    const owner = old === undefined ? '' : ownerOf(object)
    const errors: FieldError[] = []
    if (spec.type === 'ExternalName') {
      delete spec.clusterIP
      delete spec.clusterIPs
      this.#assignPorts(spec.ports ?? [], before?.ports ?? [], false, owner, errors)
      this.#assignHealthPort(spec, before, owner, errors)
      return errors
    }
    errors.push(...checkPrimary(spec.clusterIP ?? '', spec.clusterIPs ?? [], before?.clusterIPs ?? []))
    if ((spec.clusterIP ?? '') === '') spec.clusterIP = before?.clusterIP ?? this.#freeAddress(errors)
    else if (spec.clusterIP !== before?.clusterIP) this.#checkAddress(spec.clusterIP ?? '', owner, errors)
    spec.clusterIPs = [spec.clusterIP ?? '']
    spec.ipFamilies ??= ['IPv4']
    spec.ipFamilyPolicy ??= 'SingleStack'
    this.#assignPorts(spec.ports ?? [], before?.ports ?? [], needsNodePorts(spec), owner, errors)
    this.#assignHealthPort(spec, before, owner, errors)
    return errors
  }

  /** Load balancers ask the node at this port whether it has endpoints of its own. */
  #assignHealthPort(spec: ServiceSpec, before: ServiceSpec | undefined, owner: string, errors: FieldError[]): void {
    const field = 'spec.healthCheckNodePort'
    const had = before?.healthCheckNodePort ?? 0
    const asked = spec.healthCheckNodePort ?? 0
    if (!needsHealthPort(spec)) {
      // Carried over from when it was needed, it goes.
      if (asked === had || asked === 0) delete spec.healthCheckNodePort
      else {
        const message = `Invalid value: ${asked}: may only be set when \`type\` is 'LoadBalancer' and \`externalTrafficPolicy\` is 'Local'`
        errors.push({ field, reason: 'FieldValueInvalid', message })
      }
      return
    }
    if (asked === 0)
      spec.healthCheckNodePort = had === 0 ? this.#freePort(new Set(nodePortsOf(spec)), field, errors) : had
    else if (had !== 0 && asked !== had) {
      errors.push({ field, reason: 'FieldValueInvalid', message: `Invalid value: ${asked}: field is immutable` })
    } else if (asked !== had) this.#checkPort(asked, field, owner, errors)
  }

  #assignPorts(
    ports: ServicePort[],
    before: ServicePort[],
    isNeeded: boolean,
    owner: string,
    errors: FieldError[],
  ): void {
    const chosen = new Set(ports.map((port) => port.nodePort ?? 0).filter((port) => port !== 0))
    for (const [index, port] of ports.entries()) {
      const had = before.find(
        (other) => other.port === port.port && (other.protocol ?? 'TCP') === (port.protocol ?? 'TCP'),
      )
      if (!isNeeded) {
        // A port carried over from a type that had node ports goes; one asked for is a mistake upstream reports too.
        if (port.nodePort === had?.nodePort) delete port.nodePort
        continue
      }
      if ((port.nodePort ?? 0) !== 0) {
        if (port.nodePort !== had?.nodePort)
          this.#checkPort(port.nodePort ?? 0, `spec.ports[${index}].nodePort`, owner, errors)
        continue
      }
      const kept = had?.nodePort ?? 0
      const free =
        kept !== 0 && !chosen.has(kept) ? kept : this.#freePort(chosen, `spec.ports[${index}].nodePort`, errors)
      if (free !== undefined) {
        port.nodePort = free
        chosen.add(free)
      }
    }
  }

  #freeAddress(errors: FieldError[]): string | undefined {
    const count = this.#last - this.#first + 1
    for (let tried = 0; tried < count; tried += 1) {
      const candidate = renderAddress(this.#nextAddress)
      this.#nextAddress = this.#nextAddress >= this.#last ? this.#first : this.#nextAddress + 1
      if (!this.#addresses.has(candidate)) return candidate
    }
    errors.push({
      field: 'spec.clusterIPs',
      reason: 'InternalError',
      message: 'Internal error: failed to allocate a serviceIP: range is full',
    })
    return undefined
  }

  #freePort(chosen: ReadonlySet<number>, field: string, errors: FieldError[]): number | undefined {
    for (let tried = this.#lowPort; tried <= this.#highPort; tried += 1) {
      const candidate = this.#nextPort
      this.#nextPort = candidate >= this.#highPort ? this.#lowPort : candidate + 1
      if (!this.#ports.has(candidate) && !chosen.has(candidate)) return candidate
    }
    const message = 'Internal error: failed to allocate a nodePort: range is full'
    errors.push({ field, reason: 'InternalError', message })
    return undefined
  }

  #checkAddress(address: string, owner: string, errors: FieldError[]): void {
    if (address === 'None') return
    const number = isIPv4(address) ? parseAddress(address) : 0
    const holder = this.#addresses.get(address)
    const prefix = `Invalid value: ["${address}"]: failed to allocate IP ${address}:`
    if (number < this.#first || number > this.#last) {
      const range = `${renderAddress(this.#first)}-${renderAddress(this.#last)}`
      const message = `${prefix} the provided IP (${address}) is not in the valid range. The range of valid IPs is ${range}`
      errors.push({ field: 'spec.clusterIPs', reason: 'FieldValueInvalid', message })
    } else if (holder !== undefined && holder !== owner) {
      errors.push({
        field: 'spec.clusterIPs',
        reason: 'FieldValueInvalid',
        message: `${prefix} provided IP is already allocated`,
      })
    }
  }

  #checkPort(port: number, field: string, owner: string, errors: FieldError[]): void {
    const holder = this.#ports.get(port)
    if (port < this.#lowPort || port > this.#highPort) {
      const why = `provided port is not in the valid range. The range of valid ports is ${this.#lowPort}-${this.#highPort}`
      errors.push({ field, reason: 'FieldValueInvalid', message: `Invalid value: ${port}: ${why}` })
    } else if (holder !== undefined && holder !== owner) {
      errors.push({
        field,
        reason: 'FieldValueInvalid',
        message: `Invalid value: ${port}: provided port is already allocated`,
      })
    }
  }
}

function needsNodePorts(spec: NonNullable<Service['spec']>): boolean {
  if (spec.type === 'LoadBalancer') return spec.allocateLoadBalancerNodePorts !== false
  return spec.type === 'NodePort'
}

function needsHealthPort(spec: ServiceSpec): boolean {
  return spec.type === 'LoadBalancer' && spec.externalTrafficPolicy === 'Local'
}

/** The list repeats the one address; what the server had given may stay in it when the one is left out. */
function checkPrimary(address: string, addresses: readonly string[], before: readonly string[]): FieldError[] {
  const [first = ''] = addresses
  if (first === '' || first === address || (address === '' && first === before[0])) return []
  // An old client changes the one and knows nothing of the list.
  if (address !== '' && first === before[0]) return []
  const rule = address === '' ? 'must be empty when `clusterIP` is not specified' : 'first value must match `clusterIP`'
  const message = `Invalid value: ${JSON.stringify(addresses)}: ${rule}`
  return [{ field: 'spec.clusterIPs', reason: 'FieldValueInvalid', message }]
}

function ownerOf(service: KubeObject): string {
  return `${service.metadata.namespace}/${service.metadata.name}`
}

function addressesOf(service: KubeObject): string[] {
  const address = (service as Service).spec?.clusterIP ?? ''
  return address === '' || address === 'None' ? [] : [address]
}

function portsOf(service: KubeObject): number[] {
  const { spec } = service as Service
  return spec === undefined ? [] : nodePortsOf(spec)
}

function nodePortsOf({ ports = [], healthCheckNodePort = 0 }: ServiceSpec): number[] {
  return [...ports.map((port) => port.nodePort ?? 0), healthCheckNodePort].filter((port) => port !== 0)
}

/** Usable addresses of a range; as upstream does, the lowest part is left to services that choose their address. */
function parseCidr(text: string): { first: number; last: number; dynamic: number } {
  const [address = '', bits = ''] = text.split('/')
  const size = 2 ** (32 - Number(bits))
  if (!isIPv4(address) || !(size >= 4 && size <= 2 ** 24)) {
    throw new RangeError(`Cannot use service range "${text}": it is no IPv4 range between /8 and /30`)
  }
  const base = Math.floor(parseAddress(address) / size) * size
  const reserved = Math.min(Math.max(16, Math.floor(size / 16)), 256)
  return { first: base + 1, last: base + size - 2, dynamic: size > 32 ? base + reserved : base + 1 }
}

function parseAddress(text: string): number {
  return text.split('.').reduce((sum, part) => sum * 256 + Number(part), 0)
}

function renderAddress(number: number): string {
  return [24, 16, 8, 0].map((shift) => (number >>> shift) & 255).join('.')
}
