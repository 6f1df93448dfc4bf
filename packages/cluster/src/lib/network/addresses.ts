import { addressAt, cidrContains, cidrSize, parseCidr, parseIpv4 } from './cidr.ts'
import { networkAddresses } from '../errors.ts'

/** Hands out the addresses of a range. */
export interface AddressPool {
  /** Takes the next free address, going round the range so that a freed address rests as long as possible. */
  take(): string
  /** Marks an address as in use; false when it already was, or is not of the range. */
  claim(address: string): boolean
  release(address: string): void
}

/** Creates a pool over `cidr` without its first two addresses (network, gateway) and its last (broadcast). */
export function createAddressPool(cidr: string): AddressPool {
  const range = parseCidr(cidr)
  if (range === undefined) throw new TypeError(`Cannot use address range "${cidr}": not an IPv4 CIDR`)
  const used = new Set<string>()
  const first = 2
  const count = cidrSize(range) - 3
  let next = 0
  return {
    take() {
      for (let tried = 0; tried < count; tried++) {
        const address = addressAt(range, first + next)
        next = (next + 1) % count
        if (used.has(address)) continue
        used.add(address)
        return address
      }
      throw networkAddresses(cidr)
    },
    claim(address) {
      if (used.has(address) || !cidrContains(range, address)) return false
      used.add(address)
      // Go on after the highest claim: addresses of pods that just went away stay unused for a round.
      const offset = (parseIpv4(address) ?? 0) - range.base - first
      if (offset >= next) next = (offset + 1) % count
      return true
    },
    release(address) {
      used.delete(address)
    },
  }
}
