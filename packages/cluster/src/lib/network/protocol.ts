/** Protocols of Services and policies, as the packet filter writes them. */
export type Protocol = 'tcp' | 'udp' | 'sctp'

/** The protocol that a field `protocol` of an object names. Default, as in Kubernetes: TCP. */
export function toProtocol(text: string | undefined): Protocol {
  return text === 'UDP' ? 'udp' : text === 'SCTP' ? 'sctp' : 'tcp'
}
