import type { Metrics } from '../metrics/metrics.ts'
import type { Logger } from './logger.ts'

/**
 * Shows what a logger and its relatives did: `log_lines_total{level}` and `log_lines_dropped_total{reason}`, with the reasons
 * `sampling` and `sink`. Returns what ends the updates.
 */
export function addLogMetrics(metrics: Metrics, log: Logger): () => void {
  const lines = metrics.counter('log_lines_total', { help: 'Log lines written.', labels: ['level'] })
  const dropped = metrics.counter('log_lines_dropped_total', {
    help: 'Log lines left out by sampling, or lost because standard output took no more.',
    labels: ['reason'],
  })
  const told = new Map<string, number>()
  const grow = (key: string, value: number, series: () => { inc(amount?: number): void }): void => {
    const before = told.get(key) ?? 0
    // Also when it is still 0: a counter that is not there cannot be watched.
    if (value > before || !told.has(key)) series().inc(value - before)
    told.set(key, value)
  }
  return metrics.onCollect(() => {
    const { stats } = log
    for (const [level, count] of Object.entries(stats.lines)) grow(level, count, () => lines.labels({ level }))
    grow('sampling', stats.sampledOut, () => dropped.labels({ reason: 'sampling' }))
    grow('sink', stats.dropped, () => dropped.labels({ reason: 'sink' }))
  })
}
