import assert from 'node:assert/strict'
import { describe, it } from 'node:test'

import type { ScanReport } from '../scan.ts'
import { renderCosignVuln } from './cosign-vuln.ts'

const report: ScanReport = {
  subject: 'localhost/shop/web:latest',
  digest: `sha256:${'a'.repeat(64)}`,
  scannedAt: '2026-11-21T10:00:00.000Z',
  components: 12,
  findings: [],
  notChecked: ['everything: there is no advisory database at /home/ann/advisories.db'],
  warnings: [],
  database: {
    path: '/home/ann/advisories.db',
    ecosystems: [
      { ecosystem: 'npm', advisories: 7, newest: '2026-11-20T00:00:00Z', importedAt: '2026-11-21T00:00:00Z' },
      { ecosystem: 'Debian:12', advisories: 3, newest: '2026-11-19T00:00:00Z', importedAt: '2026-11-21T00:00:00Z' },
    ],
  },
}

describe('renderCosignVuln', () => {
  it('has the fields of the specification, with the newest advisory as version of the database', () => {
    const predicate = renderCosignVuln(report, { version: '1.2.3' })
    assert.deepEqual(Object.keys(predicate), ['invocation', 'scanner', 'metadata'])
    assert.equal(predicate.scanner.uri, 'pkg:npm/fairlead@1.2.3')
    assert.deepEqual(predicate.scanner.db, { uri: 'https://osv.dev', version: '2026-11-20T00:00:00Z' })
    assert.deepEqual(predicate.metadata, {
      scanStartedOn: '2026-11-21T10:00:00.000Z',
      scanFinishedOn: '2026-11-21T10:00:00.000Z',
    })
  })

  it('says what was not checked, and no path of the machine', () => {
    const { result } = renderCosignVuln(report, { version: '1.2.3' }).scanner
    assert.deepEqual(result.notChecked, ['everything: there is no advisory database at this machine'])
    assert.doesNotMatch(JSON.stringify(result), /ann/)
  })
})
