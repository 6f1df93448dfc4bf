import type { FieldInfo } from '../types/notation.ts'

/**
 * Numbers and booleans that are plain values in Go, left out of JSON when zero. Protobuf always carries them. In the
 * other fields (`replicas`, `runAsUser`, `automountServiceAccountToken`...) a zero was written by someone and counts.
 */
const plain = new Set(
  `active allowWatchBookmarks authenticated availableReplicas chapAuthDiscovery chapAuthSession clusterScope code count
currentReplicas denied deprecatedCount failed failureThreshold follow fullyLabeledReplicas generation globalDefault
healthCheckNodePort hostIPC hostNetwork hostPID hostPort initialDelaySeconds insecureSkipTLSVerifyBackend limit
minReadySeconds nodePort number numberAvailable numberUnavailable observedGeneration paused periodSeconds previous
publishNotReadyAddresses readOnly readyReplicas retryAfterSeconds signal sizeBytes sslEnabled stderr stdin stdinOnce
stdout succeeded successThreshold timeoutSeconds timestamps tty unavailableReplicas unschedulable updatedNumberScheduled
updatedReplicas watch`.split(/\s+/),
)

/** Strings for which empty is an answer: no storage class, as against the default one. */
const emptyCounts = new Set(['storageClassName', 'volumeAttributesClassName'])

/** Whether a decoded value is the zero that JSON leaves out. */
export function isZeroAbsent(field: FieldInfo, value: unknown): boolean {
  if (field.required) return false
  if (value === '') return field.type !== 'intOrString' && !emptyCounts.has(field.name)
  return (value === 0 || value === false) && plain.has(field.name)
}
