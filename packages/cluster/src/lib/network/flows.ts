import { runTool } from './command.ts'
import type { PortRules } from './rules.ts'

/**
 * Flows of UDP that must be forgotten after a change: connection tracking sends each datagram of a client where it sent the
 * first one, so a client that keeps its port goes on talking to a pod that is gone, or to nobody. As arguments of conntrack.
 */
export function staleFlows(
  before: ReadonlyMap<string, PortRules>,
  after: ReadonlyMap<string, PortRules>,
): readonly (readonly string[])[] {
  const flows = new Map<string, readonly string[]>()
  const note = (args: readonly string[]): void => void flows.set(args.join(' '), args)
  for (const [name, { keys, ends }] of before) {
    if (!isUdp(keys)) continue
    const kept = new Set(after.get(name)?.ends)
    for (const end of ends) if (!kept.has(end)) note(sourceOf(end))
  }
  for (const [name, { keys }] of after) {
    if (!isUdp(keys)) continue
    // Nobody served it so far: what was sent there may have been taken for traffic to the host itself.
    const known = new Set(before.get(name)?.keys)
    for (const key of keys) if (!known.has(key)) note(targetOf(key))
  }
  return [...flows.values()]
}

function isUdp(keys: readonly string[]): boolean {
  return keys.some((key) => key.includes('udp . '))
}

function sourceOf(end: string): string[] {
  const [ip = '', port = ''] = end.split(':')
  return ['--reply-src', ip, '--reply-port-src', port]
}

/** `services 10.80.0.1 . udp . 53` or `everywhere udp . 53` as the target of a flow. */
function targetOf(key: string): string[] {
  const [map, ...rest] = key.split(' ')
  const parts = rest.join(' ').split(' . ')
  const port = ['--orig-port-dst', parts.at(-1) ?? '']
  return map === 'everywhere' ? port : ['--orig-dst', parts[0] ?? '', ...port]
}

/** Makes the kernel forget the flows. Without the program `conntrack` they end by themselves once their clients pause for 30 s. */
export async function flushFlows(flows: readonly (readonly string[])[]): Promise<void> {
  for (const args of flows) {
    // It fails when there is no such flow, too.
    const about = { act: 'forget flows of', subject: args.join(' ') }
    await runTool('conntrack', ['-D', '-p', 'udp', ...args], about).catch(() => '')
  }
}
