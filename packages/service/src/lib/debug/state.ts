import { createRedaction } from '../log/redact.ts'
import { createValueWriter } from '../log/value.ts'

/** Handles described at most. */
const maxHandles = 1000

interface ReportHandle {
  readonly type?: string
  readonly is_active?: boolean
  readonly is_referenced?: boolean
}

/** What keeps the event loop alive: counts by kind, and the open handles with their addresses. */
export function describeHandles(): Record<string, unknown> {
  const counts: Record<string, number> = {}
  for (const kind of process.getActiveResourcesInfo()) counts[kind] = (counts[kind] ?? 0) + 1
  const handles = (getReport()['libuv'] ?? []) as readonly ReportHandle[]
  const active = handles.filter((handle) => handle.is_active === true)
  return { counts, handles: active.slice(0, maxHandles), more: Math.max(0, active.length - maxHandles) }
}

/** Node's diagnostic report without what may hold secrets: environment and arguments. */
export function getReport(): Record<string, unknown> {
  // The types do not have it yet.
  const settings = process.report as NodeJS.ProcessReport & { excludeNetwork?: boolean }
  const { excludeNetwork = false, excludeEnv } = settings
  // Looking up the names of peers would take the time of a DNS query each.
  settings.excludeNetwork = true
  settings.excludeEnv = true
  try {
    const report = process.report.getReport() as Record<string, unknown>
    delete report['environmentVariables']
    const header = report['header'] as Record<string, unknown> | undefined
    const command = header?.['commandLine']
    if (header !== undefined && Array.isArray(command))
      header['commandLine'] = [...command.slice(0, 1), `[${command.length - 1} arguments left out]`]
    return report
  } finally {
    settings.excludeNetwork = excludeNetwork
    settings.excludeEnv = excludeEnv
  }
}

/** Any value as JSON text without secrets, at most 1 MiB. */
export function renderRedacted(value: unknown): string {
  const writer = createValueWriter(createRedaction(), 64 * 1024)
  writer.left = 1024 * 1024
  return writer.write(value, [])
}
