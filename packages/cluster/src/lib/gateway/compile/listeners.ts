import type { Certificate, ListenerConfig, Rule } from '../model.ts'
import { compareHosts } from '../hostname.ts'

/** A listener as several objects build it together. */
export interface ListenerDraft {
  readonly key: string
  readonly host: string
  readonly port: number
  readonly kind: ListenerConfig['kind']
  isFlexible: boolean
  passthrough?: string | undefined
  readonly certificates: Certificate[]
  readonly hosts: Map<string, Rule[]>
}

/** Collects listeners by address: objects of any kind may share one, as long as it carries the same protocol. */
export interface ListenerTable {
  /** Undefined when the address is already one for the other protocol. */
  open(options: Pick<ListenerDraft, 'host' | 'port' | 'kind'> & { isFlexible?: boolean }): ListenerDraft | undefined
  /** What was collected, with `more` besides. */
  finish(more: readonly ListenerDraft[]): Map<string, ListenerConfig>
}

export function createListenerTable(): ListenerTable {
  const drafts = new Map<string, ListenerDraft>()
  return {
    open({ host, port, kind, isFlexible = false }) {
      const key = `${host}:${port}`
      const known = drafts.get(key)
      if (known !== undefined) return known.kind === kind ? known : undefined
      const draft: ListenerDraft = { key, host, port, kind, isFlexible, certificates: [], hosts: new Map() }
      drafts.set(key, draft)
      return draft
    },
    finish: (more) => new Map([...drafts.values(), ...more].map((draft) => [draft.key, finishDraft(draft)])),
  }
}

/** Adds rules behind those the host has. */
export function addRules(draft: ListenerDraft, hostname: string, rules: readonly Rule[]): void {
  draft.hosts.set(hostname, [...(draft.hosts.get(hostname) ?? []), ...rules])
}

function finishDraft(draft: ListenerDraft): ListenerConfig {
  const { key, host, port, kind, isFlexible, passthrough } = draft
  const hosts = [...draft.hosts].map(([hostname, rules]) => ({ hostname, rules }))
  return {
    key,
    host,
    port,
    kind,
    isFlexible,
    passthrough,
    certificates: draft.certificates.toSorted((a, b) => compareHosts(a.hostname, b.hostname)),
    hosts: hosts.toSorted((a, b) => compareHosts(a.hostname, b.hostname)),
  }
}
