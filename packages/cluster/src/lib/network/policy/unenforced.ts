import { createInformer } from '@fairlead/kube/cache'
import { createEventRecorder } from '@fairlead/kube/controller'
import type { KubeClient } from '@fairlead/kube'

/** Options of {@link reportUnenforced}. */
export interface UnenforcedOptions {
  readonly client: KubeClient
  readonly signal: AbortSignal
  /** Told of failures that are tried again. */
  readonly onError?: ((error: unknown) => void) | undefined
}

const message =
  'Pods of this cluster are plain processes: nothing enforces NetworkPolicies, and every pod reaches every other'

/** Says of each NetworkPolicy, by an Event, that nothing enforces it. Returns what waits for the last of them. */
export function reportUnenforced({ client, signal, onError }: UnenforcedOptions): { close(): Promise<void> } {
  const events = createEventRecorder(client, 'fairlead-network', { onError })
  const policies = createInformer(client.resource('networking.k8s.io/v1/NetworkPolicy'), { signal, onError })
  policies.on((event, policy) => {
    // Objects of a list carry no kind of their own; an Event needs one to refer to.
    const about = { ...policy, apiVersion: 'networking.k8s.io/v1', kind: 'NetworkPolicy' }
    if (event === 'add') events.record(about, { type: 'Warning', reason: 'NotEnforced', message })
  })
  void policies.start().catch((error: unknown) => {
    if (!signal.aborted) onError?.(error)
  })
  return { close: () => events.flush() }
}
