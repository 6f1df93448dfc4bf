import { createHash } from 'node:crypto'

import type { Finding, ScanReport } from '../scan.ts'

/** An OpenVEX 0.2.0 document: what is affected and what to do, and why the excused findings do not count. */
export function renderOpenVex(report: ScanReport): string {
  const statements = report.findings.map((finding) => ({
    vulnerability: { name: finding.id, ...(finding.aliases.length > 0 ? { aliases: finding.aliases } : {}) },
    products: [{ '@id': productId(report), subcomponents: [{ '@id': finding.component.purl }] }],
    ...statusOf(finding),
  }))
  const content = JSON.stringify(statements)
  const id = createHash('sha256').update(`${report.subject} ${report.scannedAt} ${content}`).digest('hex')
  const document = {
    '@context': 'https://openvex.dev/ns/v0.2.0',
    '@id': `https://openvex.dev/docs/public/vex-${id}`,
    author: 'fairlead image scan',
    timestamp: report.scannedAt,
    version: 1,
    statements,
  }
  return `${JSON.stringify(document, undefined, 2)}\n`
}

/** The image by digest, as package URL of type `oci`; a folder by its name. */
function productId({ subject, digest }: ScanReport): string {
  if (digest === undefined) return subject
  const repository = subject.replace(/[:@][^/]*$/, '')
  const name = repository.slice(repository.lastIndexOf('/') + 1)
  return `pkg:oci/${name}@${encodeURIComponent(digest)}?repository_url=${encodeURIComponent(repository)}`
}

function statusOf({ excused, fixed, component }: Finding): Record<string, string> {
  if (!excused) {
    const action =
      fixed === undefined ? 'No version without it is known' : `Update ${component.source.name} to ${fixed}`
    return { status: 'affected', action_statement: action }
  }
  // Ignoring for a while says nothing about whether the product is affected.
  if (excused.by === 'ignore') {
    return { status: 'affected', action_statement: `Accepted until ${excused.expires ?? ''}: ${excused.reason}` }
  }
  return {
    status: 'not_affected',
    ...(excused.justification === undefined ? {} : { justification: excused.justification }),
    impact_statement: excused.reason,
  }
}
