import type { ServerResponse } from 'node:http'
import type { Health } from '../health/health.ts'
import { HttpError } from '../http/problem.ts'
import { problemReply } from '../http/problem-reply.ts'
import { send } from '../http/send.ts'
import type { Metrics } from '../metrics/metrics.ts'
import { createAdmission } from '../resilience/admission.ts'
import type { AdmissionOptions, AdmissionPermit } from '../resilience/admission.ts'
import type { Listener } from './admin.ts'
import type { CountRefused } from './observe.ts'

/** Stands in front of a handler, or does nothing. */
interface Guard extends Disposable {
  protect(next: Listener): Listener
}

interface GuardHost {
  readonly metrics: Metrics
  readonly health: Health
  readonly onRefused: CountRefused
}

/**
 * Refuses requests beyond what the service can serve, when that is asked for; health shows it.
 *
 * @throws {ServiceError} `FAIRLEAD_SERVICE_POLICY`
 */
export function guardListener(
  options: AdmissionOptions | boolean = false,
  { metrics, health, onRefused }: GuardHost,
): Guard {
  if (options === false) return { protect: (next) => next, [Symbol.dispose]() {} }
  const admission = createAdmission({ ...(options === true ? {} : options), metrics })
  health.addCheck('overload', () => admission.health().status === 'up', { critical: false, cacheMs: 0 })
  return {
    protect: (next) => (request, response) => {
      const decision = admission.admit(request)
      if (!decision.isAdmitted) {
        const { status, detail, headers } = decision
        void send(response, problemReply(new HttpError(status, detail, { headers }), undefined))
        onRefused(request, status)
        return
      }
      response.on('close', () => release(decision, response))
      next(request, response)
    },
    [Symbol.dispose]() {
      admission[Symbol.dispose]()
    },
  }
}

function release(permit: AdmissionPermit, response: ServerResponse): void {
  const { statusCode } = response
  if (!response.writableFinished) permit.release('ignored')
  else permit.release(statusCode === 503 || statusCode === 504 ? 'dropped' : 'done')
}
