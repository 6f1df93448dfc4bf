import { isEqual } from '../../metadata.ts'
import type { Registry } from '../../registry.ts'
import { knownResource } from '../../resource.ts'
import { StatusError } from '../../status.ts'
import type { Quotas } from './quotas.ts'
import type { Quota } from './tally.ts'

const quotas = knownResource('', 'v1', 'resourcequotas')
/** Many writes in a row are one change of the status. */
const pauseMs = 20

/** Writes what is used into the status of quotas; returns how to end it. */
export function followQuotas(tracker: Quotas, registry: Registry, onError: (error: unknown) => void): () => void {
  const waiting = new Set<string>()
  let timer: NodeJS.Timeout | undefined
  let isClosed = false

  const run = async (): Promise<void> => {
    const namespaces = [...waiting]
    waiting.clear()
    for (const namespace of namespaces) {
      for (const quota of tracker.list(namespace)) await writeStatus(tracker, registry, quota)
    }
  }
  const schedule = (): void => {
    timer = setTimeout(() => {
      void run()
        .catch((error: unknown) => {
          if (!isClosed) onError(error)
        })
        .finally(() => {
          timer = undefined
          if (waiting.size > 0 && !isClosed) schedule()
        })
    }, pauseMs)
    timer.unref()
  }
  tracker.onChange = (namespace) => {
    waiting.add(namespace)
    if (timer === undefined && !isClosed) schedule()
  }
  for (const { metadata } of tracker.list()) tracker.onChange(metadata.namespace ?? '')
  return () => {
    isClosed = true
    clearTimeout(timer)
  }
}

async function writeStatus(tracker: Quotas, registry: Registry, quota: Quota): Promise<void> {
  const { namespace = '', name = '', uid } = quota.metadata
  const status = { hard: quota.spec?.hard ?? {}, used: tracker.usedOf(quota) }
  if (isEqual(status, quota.status)) return
  try {
    const options = { namespace, name, part: 'status', isDryRun: false } as const
    await registry.update(quotas, options, (current) =>
      current.metadata.uid === uid ? { ...current, status } : current,
    )
  } catch (error) {
    // It is gone: nobody asks any more.
    if (!(error instanceof StatusError) || error.status.code !== 404) throw error
  }
}
