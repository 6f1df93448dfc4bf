import { BlockList, isIP, isIPv4 } from 'node:net'

import { hasFormat } from '../custom-resources/formats.ts'
import { dnsLabel, dnsLabel1035, dnsSubdomain, labelValue, qualifiedName } from '../kinds/names.ts'
import { noOverload } from './operators.ts'
import type { Implementation } from './operators.ts'
import { parseQuantity, Quantity } from './quantity.ts'
import { CelError, CelMap, Opaque, Optional } from './values.ts'
import type { Value } from './values.ts'

class Url extends Opaque {
  readonly typeName = 'kubernetes.URL'
  readonly url: URL
  readonly isPath: boolean

  constructor(text: string) {
    super()
    this.isPath = text.startsWith('/')
    const parsed = URL.parse(text, this.isPath ? 'relative://host' : undefined)
    // oxlint-disable-next-line no-control-regex -- no URL of a request has them
    if (parsed === null || /[\u0000-\u001f\u007f]/.test(text)) {
      throw new CelError(
        `URL parse error during conversion from string: parse ${JSON.stringify(text)}: invalid URI for request`,
      )
    }
    this.url = parsed
  }

  equals(other: Opaque): boolean {
    return other instanceof Url && other.url.href === this.url.href
  }
}

/** Bytes of an address. */
function bytesOf(text: string): number[] {
  if (isIPv4(text)) return text.split('.').map(Number)
  const [head = '', tail] = text.toLowerCase().split('::')
  const groups = (part: string): number[] =>
    part
      .split(':')
      .filter((group) => group !== '')
      .flatMap((group) => {
        if (group.includes('.')) return bytesOf(group)
        const number = Number.parseInt(group, 16)
        return [number >> 8, number & 255]
      })
  const [left, right] = [groups(head), groups(tail ?? '')]
  return [...left, ...Array.from({ length: 16 - left.length - right.length }, () => 0), ...right]
}

const mappedPrefix = [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 255, 255].join()

class Ip extends Opaque {
  readonly typeName: string = 'net.IP'
  readonly bytes: readonly number[]

  constructor(bytes: readonly number[]) {
    super()
    this.bytes = bytes
  }

  static parse(text: string): Ip {
    if (isIP(text) === 0 || text.includes('%')) {
      throw new CelError(`IP Address ${JSON.stringify(text)} parse error during conversion from string`)
    }
    const bytes = bytesOf(text)
    if (bytes.length === 16 && bytes.slice(0, 12).join() === mappedPrefix) {
      throw new CelError(`IPv4-mapped IPv6 address ${JSON.stringify(text)} is not allowed`)
    }
    return new Ip(bytes)
  }

  get isVersion4(): boolean {
    return this.bytes.length === 4
  }

  equals(other: Opaque): boolean {
    return other instanceof Ip && other.bytes.join() === this.bytes.join()
  }

  override toText(): string {
    if (this.isVersion4) return this.bytes.join('.')
    const groups = Array.from(
      { length: 8 },
      (_, at) => ((this.bytes[at * 2] ?? 0) << 8) | (this.bytes[at * 2 + 1] ?? 0),
    )
    return new URL(`http://[${groups.map((group) => group.toString(16)).join(':')}]`).hostname.slice(1, -1)
  }
}

class Cidr extends Opaque {
  readonly typeName = 'net.CIDR'
  override readonly size: number
  readonly ip: Ip
  readonly bits: number

  constructor(ip: Ip, bits: number) {
    super()
    this.ip = ip
    this.bits = bits
    this.size = Math.ceil(bits / 8)
  }

  static parse(text: string): Cidr {
    const [address = '', bits = '', ...more] = text.split('/')
    const isGood = isIP(address) !== 0 && /^(0|[1-9]\d{0,2})$/.test(bits) && more.length === 0
    if (!isGood || Number(bits) > (isIPv4(address) ? 32 : 128)) {
      throw new CelError(`network address parse error during conversion from string: ${JSON.stringify(text)}`)
    }
    return new Cidr(Ip.parse(address), Number(bits))
  }

  contains(ip: Ip): boolean {
    if (ip.bytes.length !== this.ip.bytes.length) return false
    const mine = this.masked().ip.bytes
    return new Cidr(ip, this.bits).masked().ip.bytes.every((byte, at) => byte === mine[at])
  }

  masked(): Cidr {
    const bytes = this.ip.bytes.map((byte, at) => {
      const kept = Math.min(Math.max(this.bits - at * 8, 0), 8)
      return byte & ((0xff << (8 - kept)) & 0xff)
    })
    return new Cidr(new Ip(bytes), this.bits)
  }

  equals(other: Opaque): boolean {
    return other instanceof Cidr && other.ip.equals(this.ip) && other.bits === this.bits
  }

  override toText(): string {
    return `${this.ip.toText()}/${this.bits}`
  }
}

const semver =
  /^(0|[1-9]\d*)\.(0|[1-9]\d*)\.(0|[1-9]\d*)(?:-((?:0|[1-9]\d*|\d*[a-zA-Z-][0-9a-zA-Z-]*)(?:\.(?:0|[1-9]\d*|\d*[a-zA-Z-][0-9a-zA-Z-]*))*))?(?:\+([0-9a-zA-Z-]+(?:\.[0-9a-zA-Z-]+)*))?$/

class Semver extends Opaque {
  readonly typeName = 'kubernetes.Semver'
  readonly numbers: readonly bigint[]
  readonly pre: readonly string[]

  constructor(text: string, isLenient: boolean) {
    super()
    const match = semver.exec(isLenient ? normaliseVersion(text) : text)
    if (match === null) throw new CelError(`semver parse error during conversion from string: ${JSON.stringify(text)}`)
    this.numbers = match.slice(1, 4).map(BigInt)
    this.pre = match[4]?.split('.') ?? []
  }

  compare(other: Semver): number {
    for (const [at, number] of this.numbers.entries()) {
      const its = other.numbers[at] ?? 0n
      if (number !== its) return number < its ? -1 : 1
    }
    if (this.pre.length === 0 || other.pre.length === 0) return Math.sign(other.pre.length - this.pre.length)
    for (const [at, part] of this.pre.entries()) {
      const order = comparePart(part, other.pre[at])
      if (order !== 0) return order
    }
    return Math.sign(this.pre.length - other.pre.length)
  }

  equals(other: Opaque): boolean {
    return other instanceof Semver && this.compare(other) === 0
  }
}

function comparePart(a: string, b: string | undefined): number {
  if (b === undefined) return 1
  const [x, y] = [/^\d+$/.test(a), /^\d+$/.test(b)]
  if (x && y) return Math.sign(Number(a) - Number(b))
  if (x !== y) return x ? -1 : 1
  return a < b ? -1 : a > b ? 1 : 0
}

/** `v1`, `1.2` and `01.2.3` as `1.0.0`, `1.2.0` and `1.2.3`. */
function normaliseVersion(text: string): string {
  const match = /^v?(\d+)(?:\.(\d+))?(?:\.(\d+))?([-+].*)?$/.exec(text)
  if (match === null) return text
  const [, major = '0', minor = '0', patch = '0', rest = ''] = match
  return [major, minor, patch].map((part) => String(BigInt(part))).join('.') + rest
}

class NamedFormat extends Opaque {
  readonly typeName = 'kubernetes.NamedFormat'
  readonly name: string

  constructor(name: string) {
    super()
    this.name = name
  }

  equals(other: Opaque): boolean {
    return other instanceof NamedFormat && other.name === this.name
  }
}

/** What is wrong with a text, in upstream's words. */
type Judge = (text: string) => readonly string[]

function inWordsOf(check: (field: string, value: string) => readonly { readonly message: string }[]): Judge {
  return (text) => check('', text).map(({ message }) => message.replace(/^Invalid value: (?:"(?:[^"\\]|\\.)*"): /, ''))
}

/** A name that something is appended to may end with a dash. */
function asPrefix(judge: Judge): Judge {
  return (text) => judge(text.replace(/-$/, 'a'))
}

function named(format: string, fault: string): readonly [string, Judge] {
  return [format, (text) => (hasFormat(format, text) ? [] : [fault])]
}

const formats: ReadonlyMap<string, Judge> = new Map([
  ['dns1123Label', inWordsOf(dnsLabel)],
  ['dns1123Subdomain', inWordsOf(dnsSubdomain)],
  ['dns1035Label', inWordsOf(dnsLabel1035)],
  ['dns1123LabelPrefix', asPrefix(inWordsOf(dnsLabel))],
  ['dns1123SubdomainPrefix', asPrefix(inWordsOf(dnsSubdomain))],
  ['dns1035LabelPrefix', asPrefix(inWordsOf(dnsLabel1035))],
  ['qualifiedName', inWordsOf(qualifiedName)],
  ['labelValue', inWordsOf(labelValue)],
  ['uri', (text: string) => (hasFormat('uri', text) ? [] : [`parse ${JSON.stringify(text)}: invalid URI for request`])],
  named('uuid', 'does not match the UUID format'),
  named('byte', 'invalid base64'),
  named('date', 'invalid date'),
  named('datetime', 'invalid datetime'),
])

function validate(format: NamedFormat, text: string): Value {
  const faults = formats.get(format.name)?.(text) ?? []
  return new Optional(faults.length === 0 ? undefined : faults)
}

function ofText(use: (text: string, rest: readonly Value[]) => Value): Implementation {
  return ([value, ...rest]) => {
    if (typeof value !== 'string') throw noOverload()
    return use(value, rest)
  }
}

/** Whether `read` accepts the text. */
function accepts(read: (text: string, rest: readonly Value[]) => unknown): Implementation {
  return ofText((text, rest) => {
    try {
      read(text, rest)
      return true
    } catch (error) {
      if (error instanceof CelError) return false
      throw error
    }
  })
}

function on<T extends Opaque>(
  kind: abstract new (...args: never[]) => T,
  use: (value: T, rest: readonly Value[]) => Value,
): Implementation {
  return ([value, ...rest]) => {
    if (!(value instanceof kind)) throw noOverload()
    return use(value, rest)
  }
}

function comparing(test: (order: number) => Value): Implementation {
  return ([a, b]) => {
    if (a instanceof Quantity && b instanceof Quantity) return test(a.compare(b))
    if (a instanceof Semver && b instanceof Semver) return test(a.compare(b))
    throw noOverload()
  }
}

function queryOf(url: URL): Value {
  const keys = [...new Set(url.searchParams.keys())]
  return new CelMap(keys.map((key) => [key, url.searchParams.getAll(key)] as const))
}

function asIp(value: Value | undefined): Ip {
  if (value instanceof Ip) return value
  if (typeof value === 'string') return Ip.parse(value)
  throw noOverload()
}

function asCidr(value: Value | undefined): Cidr {
  if (value instanceof Cidr) return value
  if (typeof value === 'string') return Cidr.parse(value)
  throw noOverload()
}

const loopback = new BlockList()
loopback.addSubnet('127.0.0.0', 8, 'ipv4')
loopback.addAddress('::1', 'ipv6')

function isIn(
  ip: Ip,
  four: (bytes: readonly number[]) => boolean,
  six: (bytes: readonly number[]) => boolean,
): boolean {
  return ip.isVersion4 ? four(ip.bytes) : six(ip.bytes)
}

const isUnspecified = (ip: Ip): boolean => ip.bytes.every((byte) => byte === 0)
const isLoopback = (ip: Ip): boolean => loopback.check(ip.toText(), ip.isVersion4 ? 'ipv4' : 'ipv6')
const isMulticast = (ip: Ip): boolean =>
  isIn(
    ip,
    ([a = 0]) => a >= 224 && a < 240,
    ([a]) => a === 0xff,
  )
const isLinkLocalMulticast = (ip: Ip): boolean =>
  isIn(
    ip,
    ([a, b, c]) => a === 224 && b === 0 && c === 0,
    ([a, b = 0]) => a === 0xff && (b & 0x0f) === 2,
  )
const isLinkLocalUnicast = (ip: Ip): boolean =>
  isIn(
    ip,
    ([a, b]) => a === 169 && b === 254,
    ([a, b = 0]) => a === 0xfe && (b & 0xc0) === 0x80,
  )
const isBroadcast = (ip: Ip): boolean => ip.isVersion4 && ip.bytes.every((byte) => byte === 255)
const isGlobalUnicast = (ip: Ip): boolean =>
  !isUnspecified(ip) && !isLoopback(ip) && !isMulticast(ip) && !isLinkLocalUnicast(ip) && !isBroadcast(ip)

/** Kubernetes' own functions: URLs, quantities, versions, addresses, formats. */
export const kubernetesFunctions: ReadonlyMap<string, Implementation> = new Map<string, Implementation>([
  ['url', ofText((text) => new Url(text))],
  ['isURL', accepts((text) => new Url(text))],
  ['getScheme', on(Url, ({ url, isPath }) => (isPath ? '' : url.protocol.slice(0, -1)))],
  ['getHost', on(Url, ({ url, isPath }) => (isPath ? '' : url.host))],
  ['getHostname', on(Url, ({ url, isPath }) => (isPath ? '' : url.hostname.replaceAll(/^\[|\]$/g, '')))],
  ['getPort', on(Url, ({ url }) => url.port)],
  ['getEscapedPath', on(Url, ({ url }) => url.pathname)],
  ['getQuery', on(Url, ({ url }) => queryOf(url))],
  ['quantity', ofText((text) => parseQuantity(text))],
  ['isQuantity', accepts((text) => parseQuantity(text))],
  ['sign', on(Quantity, (quantity) => quantity.sign)],
  ['isInteger', on(Quantity, (quantity) => quantity.isInteger)],
  ['asInteger', on(Quantity, (quantity) => quantity.asInteger())],
  ['asApproximateFloat', on(Quantity, (quantity) => quantity.asFloat())],
  ['add', on(Quantity, (quantity, [other]) => quantity.add(Quantity.from(other)))],
  ['sub', on(Quantity, (quantity, [other]) => quantity.subtract(Quantity.from(other)))],
  ['isGreaterThan', comparing((order) => order > 0)],
  ['isLessThan', comparing((order) => order < 0)],
  ['compareTo', comparing((order) => BigInt(order))],
  ['semver', ofText((text, [lenient]) => new Semver(text, lenient === true))],
  ['isSemver', accepts((text, [lenient]) => new Semver(text, lenient === true))],
  ['major', on(Semver, ({ numbers }) => numbers[0] ?? 0n)],
  ['minor', on(Semver, ({ numbers }) => numbers[1] ?? 0n)],
  ['patch', on(Semver, ({ numbers }) => numbers[2] ?? 0n)],
  ['ip', ([value]) => (value instanceof Cidr ? value.ip : asIp(value))],
  ['isIP', accepts((text) => Ip.parse(text))],
  ['ip.isCanonical', ofText((text) => Ip.parse(text).toText() === text)],
  ['family', on(Ip, (ip) => (ip.isVersion4 ? 4n : 6n))],
  ['isUnspecified', on(Ip, isUnspecified)],
  ['isLoopback', on(Ip, isLoopback)],
  ['isLinkLocalMulticast', on(Ip, isLinkLocalMulticast)],
  ['isLinkLocalUnicast', on(Ip, isLinkLocalUnicast)],
  ['isGlobalUnicast', on(Ip, isGlobalUnicast)],
  ['cidr', ofText((text) => Cidr.parse(text))],
  ['isCIDR', accepts((text) => Cidr.parse(text))],
  ['containsIP', on(Cidr, (cidr, [ip]) => cidr.contains(asIp(ip)))],
  [
    'containsCIDR',
    on(Cidr, (cidr, [other]) => {
      const inner = asCidr(other)
      return inner.bits >= cidr.bits && cidr.contains(inner.ip)
    }),
  ],
  ['prefixLength', on(Cidr, ({ bits }) => BigInt(bits))],
  ['masked', on(Cidr, (cidr) => cidr.masked())],
  ['format.named', ofText((name) => new Optional(formats.has(name) ? new NamedFormat(name) : undefined))],
  [
    'validate',
    on(NamedFormat, (format, [text]) => {
      if (typeof text !== 'string') throw noOverload()
      return validate(format, text)
    }),
  ],
  ...[...formats.keys()].map((name) => [`format.${name}`, () => new NamedFormat(name)] as const),
])
