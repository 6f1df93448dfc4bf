import { isConflict, isNotFound } from '@fairlead/kube'
import type { ResourceClient } from '@fairlead/kube'
import type { Clock } from '@fairlead/kube/controller'
import type { Pod, PodStatus } from '@fairlead/kube/types/core-v1'

import { renderStatusPatch } from './status.ts'

/** Writes the status of one pod: one request at a time, always the newest, nothing when nothing changed. */
export interface StatusWriter {
  submit(pod: Pod, status: PodStatus): void
  /** Resolves when what was submitted is written, or the pod is gone. */
  flush(): Promise<void>
  close(): void
}

/** Changes nobody waits for are gathered for so long. */
const GATHER_MS = 50
const RETRY_MS = [200, 1000, 5000]

export function createStatusWriter(
  pods: ResourceClient<Pod>,
  options: { readonly clock: Clock; readonly onError: (error: unknown) => void },
): StatusWriter {
  const { clock, onError } = options
  let wanted: { pod: Pod; status: PodStatus; text: string } | undefined
  let written: { status: PodStatus; text: string } | undefined
  let writing: Promise<void> | undefined
  let cancel: (() => void) | undefined
  let failures = 0
  let isClosed = false

  function plan(delayMs: number): void {
    cancel?.()
    cancel = undefined
    if (delayMs === 0) start()
    else {
      cancel = clock.schedule(delayMs, () => {
        cancel = undefined
        start()
      })
    }
  }

  function start(): void {
    if (writing || isClosed || !wanted || wanted.text === written?.text) return
    const next = wanted
    writing = write(next).finally(() => {
      writing = undefined
      if (isClosed || wanted?.text === written?.text) return
      plan(failures === 0 ? 0 : (RETRY_MS[Math.min(failures, RETRY_MS.length) - 1] ?? 0))
    })
  }

  async function write({ pod, status, text }: { pod: Pod; status: PodStatus; text: string }): Promise<void> {
    const { name = '', namespace } = pod.metadata ?? {}
    const body = renderStatusPatch(pod, written?.status ?? pod.status, status)
    try {
      await pods.patch(name, { type: 'strategic', body }, { namespace, subresource: 'status' })
      written = { status, text }
      failures = 0
    } catch (error) {
      // Gone, or another pod of the same name: nobody is left to tell.
      if (isNotFound(error) || isConflict(error)) isClosed = true
      else onError(error)
      failures += 1
    }
  }

  return {
    submit(pod, status) {
      const text = JSON.stringify(status)
      const isUrgent = isNews(wanted?.status ?? pod.status, status)
      wanted = { pod, status, text }
      if (isUrgent) plan(0)
      else if (!cancel && !writing && text !== written?.text) plan(GATHER_MS)
    },
    async flush() {
      plan(0)
      // The one under way may be of an older status; the one after it is the newest.
      await writing
      await writing
    },
    close() {
      isClosed = true
      cancel?.()
    },
  }
}

/** Whether somebody may be waiting for this: a phase, or readiness. */
function isNews(old: PodStatus | undefined, next: PodStatus): boolean {
  if (!old) return false
  const ready = (status: PodStatus): string =>
    JSON.stringify([status.phase, status.conditions?.find(({ type }) => type === 'Ready')?.status ?? 'False'])
  return ready(old) !== ready(next)
}
