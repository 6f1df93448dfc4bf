import { intersectHosts } from '../hostname.ts'
import type { Gateway, GatewayListener, World } from '../objects.ts'
import { byAge } from './ingress.ts'

/**
 * The address of each Gateway: the one it asks for, else the one it has, else the host's, else one of its own. Gateways share an address
 * only as long as no request could be meant for either (GatewaySpec.listeners, on merging): the younger one gets another.
 */
export function assignAddresses(gateways: readonly Gateway[], { host }: Pick<World, 'host'>): Map<Gateway, string> {
  const placed = new Map<string, Gateway[]>()
  const addresses = new Map<Gateway, string>()
  for (const gateway of gateways.toSorted(byAge)) {
    const isFree = (address: string): boolean =>
      (placed.get(address) ?? []).every((other) => areApart(gateway.spec?.listeners, other.spec?.listeners))
    const address = askedAddress(gateway) ?? candidates(gateway, host).find(isFree) ?? host
    addresses.set(gateway, address)
    placed.set(address, [...(placed.get(address) ?? []), gateway])
  }
  return addresses
}

/** Beyond loopback nothing listens: another address stays unassigned, which the status says. */
function askedAddress({ spec }: Gateway): string | undefined {
  const asked = spec?.addresses?.find(({ type = 'IPAddress', value = '' }) => type === 'IPAddress' && value !== '')
  return isLoopback(asked?.value) ? asked?.value : undefined
}

/** Linux has all of 127.0.0.0/8; elsewhere listeners at other addresses than 127.0.0.1 say that they cannot be had. */
const own = Array.from({ length: 254 }, (_, index) => `127.0.80.${index + 1}`)

function candidates({ status }: Gateway, host: string): string[] {
  if (!isLoopback(host)) return [host]
  const known = status?.addresses?.[0]?.value
  return [...(known !== undefined && isLoopback(known) ? [known] : []), host, ...own]
}

function isLoopback(address: string | undefined): boolean {
  return address?.startsWith('127.') === true
}

function areApart(some: readonly GatewayListener[] = [], others: readonly GatewayListener[] = []): boolean {
  return some.every((one) =>
    others.every(
      (other) =>
        one.port !== other.port ||
        (one.protocol === other.protocol && intersectHosts(one.hostname ?? '*', other.hostname ?? '*') === undefined),
    ),
  )
}
