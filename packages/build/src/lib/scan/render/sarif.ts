import { createHash } from 'node:crypto'

import type { Finding, ScanReport } from '../scan.ts'
import type { Severity } from '../severity.ts'

/** A SARIF 2.1.0 log, for code scanning of GitHub, GitLab and others. Excused findings are suppressed results. */
export function renderSarif(report: ScanReport): string {
  const rules = new Map(report.findings.map((finding) => [finding.id, renderRule(finding)]))
  const ids = [...rules.keys()]
  const run = {
    tool: {
      driver: { name: 'fairlead', informationUri: 'https://osv.dev', rules: [...rules.values()] },
    },
    invocations: [
      {
        executionSuccessful: true,
        endTimeUtc: report.scannedAt,
        toolExecutionNotifications: report.notChecked.map((text) => ({
          level: 'warning',
          message: { text: `not checked: ${text}` },
        })),
      },
    ],
    results: report.findings.map((finding) => renderResult(report, finding, ids.indexOf(finding.id))),
  }
  const log = { $schema: 'https://json.schemastore.org/sarif-2.1.0.json', version: '2.1.0', runs: [run] }
  return `${JSON.stringify(log, undefined, 2)}\n`
}

function renderRule({ id, summary, url, score, severity }: Finding): unknown {
  return {
    id,
    shortDescription: { text: summary === '' ? id : summary },
    ...(url === undefined ? {} : { helpUri: url }),
    properties: {
      tags: ['security', 'vulnerability', severity],
      // A rule without a score is rated by its word, at the lower end of it.
      'security-severity': (score ?? SCORES[severity]).toFixed(1),
    },
  }
}

const SCORES: Readonly<Record<Severity, number>> = { unknown: 0, none: 0, low: 0.1, medium: 4, high: 7, critical: 9 }
const LEVELS: Readonly<Record<Severity, string>> = {
  unknown: 'warning',
  none: 'note',
  low: 'note',
  medium: 'warning',
  high: 'error',
  critical: 'error',
}

function renderResult(report: ScanReport, finding: Finding, ruleIndex: number): unknown {
  const { id, severity, component, fixed, excused } = finding
  const way = fixed === undefined ? 'no version without it is known' : `mended in ${fixed}`
  const uri = (component.location ?? component.name).replace(/^\//, '')
  return {
    ruleId: id,
    ruleIndex,
    level: LEVELS[severity],
    message: { text: `${component.name} ${component.version} in ${report.subject} is affected by ${id}; ${way}` },
    locations: [{ physicalLocation: { artifactLocation: { uri: encodeURI(uri) }, region: { startLine: 1 } } }],
    partialFingerprints: { finding: createHash('sha256').update(`${id} ${component.purl}`).digest('hex') },
    ...(excused ? { suppressions: [{ kind: 'external', justification: excused.reason }] } : {}),
  }
}
