import { bridgeName, gatewayOf, tableName } from './plan.ts'
import type { NetworkPlan } from './plan.ts'
import { ownPortsSet } from './rules.ts'

/**
 * Drops what pods ask of ports of this process while nobody listens there, before connection tracking takes it for a connection. Asked again,
 * it is led anew: to an endpoint, or to the process that has come in between. What the host asks for has been taken for a connection on its way
 * out, and is refused.
 */
export function renderArrivals(plan: NetworkPlan): string[] {
  const table = `ip ${tableName(plan)}`
  const own = `iifname ${bridgeName(plan)} ip daddr ${gatewayOf(plan)} meta l4proto . th dport @${ownPortsSet}`
  return [
    `add chain ${table} arriving { type filter hook input priority 0; }`,
    `add chain ${table} own-ports`,
    `flush chain ${table} arriving`,
    `flush chain ${table} own-ports`,
    `add rule ${table} own-ports socket transparent 0 accept`,
    `add rule ${table} own-ports drop`,
    // Connections of before are to be told that they are over. Datagrams have none to be told of.
    `add rule ${table} arriving ${own} ct state new jump own-ports`,
    `add rule ${table} arriving ${own} meta l4proto udp jump own-ports`,
  ]
}
