import type { ExitDirectory } from './exits.ts'
import { isRunning } from './process-identity.ts'
import type { ContainerRecords } from './records.ts'

/**
 * Announces containers that ended without a word: a monitor that is killed writes no exit code, and whoever waits for
 * one would wait for ever. Returns what stops the looking.
 */
export function watchMonitors(records: ContainerRecords, exits: ExitDirectory, everyMs: number): () => void {
  const announced = new Set<string>()
  const timer = setInterval(() => void look().catch(() => {}), everyMs)
  timer.unref()

  async function look(): Promise<void> {
    const ids = await records.ids()
    for (const id of ids) {
      const record = await records.find(id)
      if (announced.has(id) || record?.startedAt === undefined || record.monitor === undefined) continue
      if (isRunning(record.monitor)) continue
      announced.add(id)
      exits.announce(id)
    }
    for (const id of announced) if (!ids.includes(id)) announced.delete(id)
  }

  return () => clearInterval(timer)
}
