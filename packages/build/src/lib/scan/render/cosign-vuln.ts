import type { ScanReport } from '../scan.ts'

/** What a vulnerability attestation says: cosign's COSIGN_VULN_ATTESTATION_SPEC, which `cosign attest --type vuln` takes as well. */
export interface VulnerabilityPredicate {
  invocation: { parameters: readonly string[]; uri: string; event_id: string; 'builder.id': string }
  scanner: { uri: string; version: string; db: { uri: string; version: string }; result: VulnerabilityResult }
  /** RFC 3339. */
  metadata: { scanStartedOn: string; scanFinishedOn: string }
}

/** The result in the scanner's own words; the specification leaves its form open. */
export interface VulnerabilityResult {
  components: number
  findings: ScanReport['findings']
  /** What nothing can be said about: without it an empty list of findings would claim too much. */
  notChecked: readonly string[]
  database: readonly { ecosystem: string; advisories: number; newest: string }[]
}

/**
 * The predicate of an attestation of type `https://cosign.sigstore.dev/attestation/vuln/v1`. The version of the database is the day of its
 * newest advisory. Paths of this machine are left out, for the statement goes with the image.
 */
export function renderCosignVuln(report: ScanReport, scanner: { version: string }): VulnerabilityPredicate {
  const { ecosystems } = report.database
  const newest =
    ecosystems
      .map((ecosystem) => ecosystem.newest)
      .toSorted()
      .at(-1) ?? ''
  return {
    invocation: { parameters: [], uri: '', event_id: '', 'builder.id': '' },
    scanner: {
      uri: `pkg:npm/fairlead@${scanner.version}`,
      version: scanner.version,
      db: { uri: 'https://osv.dev', version: newest },
      result: {
        components: report.components,
        findings: report.findings,
        notChecked: report.notChecked.map((sentence) => sentence.replace(report.database.path, 'this machine')),
        database: ecosystems.map(({ ecosystem, advisories, newest: age }) => ({ ecosystem, advisories, newest: age })),
      },
    },
    metadata: { scanStartedOn: report.scannedAt, scanFinishedOn: report.scannedAt },
  }
}
