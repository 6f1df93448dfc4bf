import type { Finding, ScanReport } from '../scan.ts'

/** A CycloneDX 1.6 document with `vulnerabilities` and their analysis (VEX). */
export function renderCycloneDxVex(report: ScanReport): string {
  const components = new Map(report.findings.map(({ component }) => [component.purl, component]))
  const document = {
    bomFormat: 'CycloneDX',
    specVersion: '1.6',
    version: 1,
    metadata: {
      timestamp: report.scannedAt,
      component: { type: 'container', name: report.subject, ...(report.digest ? { version: report.digest } : {}) },
      tools: { components: [{ type: 'application', name: 'fairlead image scan' }] },
      properties: report.notChecked.map((value) => ({ name: 'fairlead:not-checked', value })),
    },
    components: [...components.values()].map(({ name, version, purl }) => ({
      type: 'library',
      'bom-ref': purl,
      name,
      version,
      purl,
    })),
    vulnerabilities: report.findings.map(renderVulnerability),
  }
  return `${JSON.stringify(document, undefined, 2)}\n`
}

function renderVulnerability(finding: Finding): unknown {
  const { id, aliases, severity, score, vector, summary, url, fixed, component } = finding
  return {
    'bom-ref': `${id} ${component.purl}`,
    id,
    source: { name: 'OSV', url: `https://osv.dev/vulnerability/${encodeURIComponent(id)}` },
    references: aliases.map((alias) => ({
      id: alias,
      source: { name: 'OSV', url: `https://osv.dev/vulnerability/${encodeURIComponent(alias)}` },
    })),
    ratings: [{ severity, ...(score === undefined ? {} : { score }), ...methodOf(vector) }],
    description: summary,
    ...(fixed === undefined ? {} : { recommendation: `Update ${component.source.name} to ${fixed}` }),
    ...(url === undefined ? {} : { advisories: [{ url }] }),
    analysis: analysisOf(finding),
    affects: [{ ref: component.purl, versions: [{ version: component.version, status: statusOf(finding) }] }],
  }
}

function methodOf(vector: string | undefined): Record<string, string> {
  if (vector === undefined) return {}
  if (vector.startsWith('CVSS:4.0')) return { method: 'CVSSv4', vector }
  return { method: vector.startsWith('CVSS:3.1') ? 'CVSSv31' : 'CVSSv3', vector }
}

function statusOf({ excused }: Finding): string {
  return excused && excused.by !== 'ignore' ? 'unaffected' : 'affected'
}

/** Justifications of CycloneDX for those of OpenVEX. */
const JUSTIFICATIONS: Readonly<Record<string, string>> = {
  component_not_present: 'code_not_present',
  vulnerable_code_not_present: 'code_not_present',
  vulnerable_code_not_in_execute_path: 'code_not_reachable',
  vulnerable_code_cannot_be_controlled_by_adversary: 'requires_environment',
  inline_mitigations_already_exist: 'protected_by_mitigating_control',
}

function analysisOf({ excused }: Finding): unknown {
  if (!excused) return { state: 'in_triage' }
  if (excused.by === 'ignore') return { state: 'exploitable', response: ['will_not_fix'], detail: excused.reason }
  const justification = JUSTIFICATIONS[excused.justification ?? '']
  return { state: 'not_affected', ...(justification ? { justification } : {}), detail: excused.reason }
}
