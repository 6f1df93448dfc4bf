/** An IPv4 address range: `base` is the first address as an unsigned 32-bit number. */
export interface Cidr {
  readonly base: number
  readonly bits: number
}

/** Reads dotted IPv4 as an unsigned number; undefined for anything else. */
export function parseIpv4(text: string): number | undefined {
  const parts = text.split('.')
  if (parts.length !== 4) return undefined
  let value = 0
  for (const part of parts) {
    if (!/^\d{1,3}$/.test(part) || Number(part) > 255) return undefined
    value = value * 256 + Number(part)
  }
  return value
}

/** Writes an unsigned number as dotted IPv4. */
function renderIpv4(value: number): string {
  return [24, 16, 8, 0].map((shift) => (value >>> shift) & 255).join('.')
}

/** Reads `a.b.c.d/n` (or a lone address, as /32), clearing host bits; undefined for anything else. */
export function parseCidr(text: string): Cidr | undefined {
  const [address = '', length = '32', ...rest] = text.split('/')
  const value = parseIpv4(address)
  const bits = Number(length)
  if (value === undefined || rest.length > 0 || !/^\d{1,2}$/.test(length) || bits > 32) return undefined
  return { base: value - (value % 2 ** (32 - bits)), bits }
}

/** Writes `a.b.c.d/n`. */
export function renderCidr(cidr: Cidr): string {
  return `${renderIpv4(cidr.base)}/${cidr.bits}`
}

/** How many addresses the range has. */
export function cidrSize(cidr: Cidr): number {
  return 2 ** (32 - cidr.bits)
}

/** The address at `offset` from the start of the range. */
export function addressAt(cidr: Cidr, offset: number): string {
  return renderIpv4(cidr.base + offset)
}

/** True when the two ranges share an address. */
export function overlaps(a: Cidr, b: Cidr): boolean {
  return a.base < b.base + cidrSize(b) && b.base < a.base + cidrSize(a)
}

/** True when the dotted address lies in the range. */
export function cidrContains(cidr: Cidr, address: string): boolean {
  const value = parseIpv4(address)
  return value !== undefined && value >= cidr.base && value < cidr.base + cidrSize(cidr)
}
