import type { Finding, ScanReport, Severity } from '@fairlead/build/scan'
import type { Paint } from '../terminal/terminal.ts'
import { renderTable } from '../terminal/text.ts'

/** What a person reads of a scan: findings, then why others do not count, then what was not looked at. */
export function renderReport(report: ScanReport, paint: Paint): string {
  const counting = report.findings.filter(({ excused }) => !excused)
  const excused = report.findings.filter((finding) => finding.excused)
  const lines = [`${report.subject}: ${report.components} components, ${renderCounts(counting)}`]
  if (counting.length > 0) lines.push('', renderFindings(counting))
  if (excused.length > 0) lines.push('', `do not count (${excused.length}):`, ...excused.map(renderExcused))
  if (report.notChecked.length > 0) {
    lines.push('', paint('yellow', 'not checked:'), ...report.notChecked.map((sentence) => `  ${sentence}`))
  }
  return lines.join('\n')
}

function renderCounts(findings: readonly Finding[]): string {
  if (findings.length === 0) return 'no known vulnerability among what was checked'
  const counts = new Map<Severity, number>()
  for (const { severity } of findings) counts.set(severity, (counts.get(severity) ?? 0) + 1)
  return [...counts].map(([severity, count]) => `${count} ${severity}`).join(', ')
}

function renderFindings(findings: readonly Finding[]): string {
  return renderTable(
    ['SEVERITY', 'ID', 'PACKAGE', 'VERSION', 'FIXED', 'SUMMARY'],
    findings.map(({ severity, score, id, component, fixed = '-', summary }) => [
      score === undefined ? severity : `${severity} ${score.toFixed(1)}`,
      id,
      component.name,
      component.version,
      fixed,
      summary.length > 60 ? `${summary.slice(0, 59)}…` : summary,
    ]),
  )
}

function renderExcused({ id, component, excused }: Finding): string {
  const end = excused?.expires === undefined ? '' : `, until ${excused.expires}`
  return `  ${id} ${component.name} ${component.version}: ${excused?.reason ?? ''} (${excused?.by ?? ''}${end})`
}
