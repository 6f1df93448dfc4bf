/**
 * Scanning images and service folders for known vulnerabilities, without a network: advisories in the OSV format are
 * imported into a SQLite file once and looked up there.
 *
 * @example
 * ```ts no-run
 * import { importAdvisories, inventoryOfFolder, scanInventory } from '@fairlead/build/scan'
 *
 * const path = '/tmp/advisories.db'
 * await importAdvisories('/data/osv', { path })
 * const report = await scanInventory(await inventoryOfFolder('services/orders'), { database: path, subject: 'orders' })
 * for (const { id, severity, component } of report.findings) console.log(severity, id, component.name)
 * for (const sentence of report.notChecked) console.log('not checked:', sentence)
 * ```
 */
export type { DatabaseStatus, EcosystemStatus, ImportCounts } from './lib/scan/database/database.ts'
export { databaseStatus, importAdvisories } from './lib/scan/database/import.ts'
export type { ImportOptions, ImportResult } from './lib/scan/database/import.ts'
export type { ZipLimits } from './lib/scan/database/zip.ts'
export { loadIgnoreFile } from './lib/scan/ignore.ts'
export type { IgnoreEntry, IgnoreList } from './lib/scan/ignore.ts'
export { componentsOfReport } from './lib/scan/inventory/component.ts'
export type { Component, Inventory } from './lib/scan/inventory/component.ts'
export { inventoryOfFolder } from './lib/scan/inventory/folder.ts'
export { openCache as openScanCache } from './lib/layers/cache.ts'
export { inventoryOfImage } from './lib/scan/inventory/image.ts'
export { renderCosignVuln } from './lib/scan/render/cosign-vuln.ts'
export type { VulnerabilityPredicate, VulnerabilityResult } from './lib/scan/render/cosign-vuln.ts'
export { renderCycloneDxVex } from './lib/scan/render/cyclonedx.ts'
export { renderOpenVex } from './lib/scan/render/openvex.ts'
export { renderSarif } from './lib/scan/render/sarif.ts'
export { findingsFrom, scanInventory } from './lib/scan/scan.ts'
export type { Excuse, Finding, ScanOptions, ScanReport } from './lib/scan/scan.ts'
export { SEVERITIES } from './lib/scan/severity.ts'
export type { Rating, Severity } from './lib/scan/severity.ts'
export { loadVexFile } from './lib/scan/vex.ts'
export type { VexStatement } from './lib/scan/vex.ts'
