import type { Container, Probe } from '@fairlead/kube/types/core-v1'
import type { Health } from '../app/definition.ts'

/** Name of the port that Services and probes mean. */
export const portName = 'http'

/** How long a program may take to answer for the first time. */
const startSeconds = 60

/**
 * Liveness waits for the first answer (the startup probe), and is slow to judge: a restart helps only a program that is
 * stuck. Readiness is quick: it decides who gets traffic. An open port says nothing of a stuck program, so a service
 * probed by TCP has no liveness probe.
 */
export function renderProbes(health: Health): Pick<Container, 'startupProbe' | 'livenessProbe' | 'readinessProbe'> {
  if (health.kind === 'none') return {}
  if (health.kind === 'tcp') {
    const tcpSocket = { port: portName }
    return { readinessProbe: { tcpSocket, periodSeconds: 2, timeoutSeconds: 2, failureThreshold: 3 } }
  }
  return {
    startupProbe: { ...httpGet(health.live), periodSeconds: 1, timeoutSeconds: 2, failureThreshold: startSeconds },
    livenessProbe: { ...httpGet(health.live), periodSeconds: 10, timeoutSeconds: 5, failureThreshold: 3 },
    readinessProbe: { ...httpGet(health.ready), periodSeconds: 2, timeoutSeconds: 2, failureThreshold: 3 },
  }
}

function httpGet(path: string): Probe {
  return { httpGet: { path, port: portName } }
}
