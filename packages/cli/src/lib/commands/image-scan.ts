import { existsSync } from 'node:fs'
import { join, resolve } from 'node:path'
import type { IgnoreList, ScanReport, VexStatement, VulnerabilityPredicate } from '@fairlead/build/scan'
import { type Command, defineCommand, jsonOption } from '../command.ts'
import { usage } from '../errors.ts'
import { prepareHomes } from '../homes.ts'
import type { Homes } from '../homes.ts'
import { platformOption } from '../image/local.ts'
import { signingKeyOption } from '../image/signing.ts'
import { parseChoice, parseInteger } from '../parse-command.ts'
import type { ScanSubject } from '../scan/subjects.ts'
import { readVersion } from './version.ts'

const formats = ['table', 'json', 'sarif', 'openvex', 'cyclonedx', 'cosign-vuln'] as const

/** `fairlead image scan` */
export const imageScan: Command = defineCommand({
  name: 'image scan',
  summary: 'look for known vulnerabilities in an image or a folder',
  description: [
    'Looks up what an image consists of, or the services of the app in a folder, in the advisories of this machine (fairlead',
    'image scan db import); needs no network. What cannot be checked is said, and with --fail-on it fails the scan as a',
    'vulnerability does. A file fairlead.scan.yaml in the current folder excuses vulnerabilities for a while: "ignore:" with a',
    'list of id, reason and expires.',
  ].join('\n'),
  args: ['[TARGET]'],
  options: {
    'fail-on': {
      type: 'string',
      value: 'SEVERITY',
      help: 'exit code 1 from this severity on: unknown, low, medium, high or critical',
    },
    'allow-not-checked': { type: 'boolean', help: 'with --fail-on: do not fail because of what was not checked' },
    format: { type: 'string', value: 'FORMAT', help: `${formats.join(', ')}; default table` },
    ignore: { type: 'string', value: 'FILE', help: 'file of excused vulnerabilities; default fairlead.scan.yaml' },
    vex: { type: 'string', value: 'FILE', help: 'OpenVEX document that tells what is not affected' },
    'max-age': { type: 'string', value: 'DAYS', help: 'older advisories count as not there; default 14' },
    platform: platformOption,
    db: { type: 'string', value: 'FILE', help: 'database of advisories; default: the one of db import' },
    attest: {
      type: 'boolean',
      help: 'sign the result and attach it to the image, as "cosign attest --type vuln" does; needs --key',
    },
    key: signingKeyOption,
    json: jsonOption,
  },
  examples: [
    { command: 'fairlead image scan --fail-on high', text: 'the app in this folder, as a step of CI' },
    { command: 'fairlead image scan localhost/shop/web:latest', text: 'an image of this machine' },
    {
      command: 'fairlead image scan localhost/shop/web:latest --attest --key cosign.key',
      text: 'for whoever runs the image: fairlead image verify --type vuln',
    },
    { command: 'fairlead image scan localhost/shop/web --format sarif > scan.sarif', text: 'for code scanning' },
  ],
  async run({ options, args: [target = '.'], homes, cwd, env, terminal, signal }) {
    const failOn = parseChoice('fail-on', options['fail-on'], ['unknown', 'low', 'medium', 'high', 'critical'])
    const format = options.json ? 'json' : (parseChoice('format', options.format, formats) ?? 'table')
    const days = parseInteger('max-age', options['max-age'], 1, 3650)
    prepareHomes(homes)
    const now = toTime(env['SOURCE_DATE_EPOCH'])
    const scanning = await import('@fairlead/build/scan')
    const { databasePath, findSubjects } = await import('../scan/subjects.ts')
    const excuses = await loadExcuses({ ignore: options.ignore, vex: options.vex, cwd })
    const subjects = await findSubjects(target, { homes, cwd, platform: options.platform, signal })
    const database = options.db === undefined ? databasePath(homes) : resolve(cwd, options.db)
    const maxAgeMs = days === undefined ? undefined : days * 86_400_000
    if (options.attest) checkAttestable(target, subjects, options.key)
    const reports: ScanReport[] = []
    for (const { subject, digest, inventory, notes } of subjects) {
      for (const note of notes) terminal.note(note)
      const report = await scanning.scanInventory(inventory, { database, subject, digest, maxAgeMs, now, ...excuses })
      for (const warning of report.warnings) terminal.note(warning)
      reports.push(report)
    }
    if (format === 'json') terminal.printJson(target === '.' || reports.length > 1 ? reports : reports[0])
    else if (format === 'table') {
      const { renderReport } = await import('../scan/render.ts')
      terminal.print(reports.map((report) => renderReport(report, terminal.paintResults)).join('\n\n'))
    } else {
      const render = {
        sarif: scanning.renderSarif,
        openvex: scanning.renderOpenVex,
        cyclonedx: scanning.renderCycloneDxVex,
        'cosign-vuln': (report: ScanReport) =>
          JSON.stringify(scanning.renderCosignVuln(report, { version: readVersion() }), undefined, 2),
      }[format]
      terminal.print(render(single(reports, format)).trimEnd())
    }
    if (options.attest) {
      const predicate = scanning.renderCosignVuln(single(reports, 'an attestation'), { version: readVersion() })
      await attest(target, predicate, { key: options.key, homes, env, cwd, signal })
      terminal.note(`attested: ${target}`)
    }
    if (failOn === undefined) return 0
    const failing = reports.flatMap((report) => scanning.findingsFrom(report, failOn))
    const gaps = reports.flatMap(({ notChecked }) => notChecked)
    if (failing.length > 0) terminal.note(`failed: ${failing.length} of severity ${failOn} or above`)
    else if (gaps.length > 0 && !options['allow-not-checked']) {
      terminal.note('failed: not everything was checked; --allow-not-checked accepts that')
    } else return 0
    return 1
  },
})

/** A statement is about an image with a digest, and about one platform. */
function checkAttestable(target: string, subjects: readonly ScanSubject[], key: string | undefined): void {
  if (subjects.some(({ digest }) => digest === undefined))
    throw usage(
      `Cannot attest the scan of "${target}": it is no image`,
      'Name an image, such as localhost/APP/SERVICE:latest',
    )
  if (key === undefined)
    throw usage('Cannot attest a scan without a key', 'Name one with --key; fairlead image keygen makes one')
}

async function attest(
  reference: string,
  predicate: VulnerabilityPredicate,
  options: { key: string | undefined; homes: Homes; env: NodeJS.ProcessEnv; cwd: string; signal: AbortSignal },
): Promise<void> {
  const { openHome, openSigningKey } = await import('../image/signing.ts')
  const { attestImage, predicateTypes } = await import('@fairlead/oci/sign')
  const key = await openSigningKey('image scan', options.key, options)
  const home = await openHome(reference, options)
  await attestImage(home, { predicateType: predicateTypes.vulnerabilities, predicate, key })
}

function single(reports: readonly ScanReport[], format: string): ScanReport {
  const [report] = reports
  if (report !== undefined && reports.length === 1) return report
  const names = reports.map(({ subject }) => subject).join(', ')
  throw usage(
    `Cannot write ${format} for an app of ${reports.length} services: such a document is about one thing`,
    `Name one of them, by its folder or its image: ${names}`,
  )
}

async function loadExcuses(files: {
  ignore: string | undefined
  vex: string | undefined
  cwd: string
}): Promise<{ ignore?: IgnoreList; vex?: readonly VexStatement[] }> {
  const { loadIgnoreFile, loadVexFile } = await import('@fairlead/build/scan')
  const usual = join(files.cwd, 'fairlead.scan.yaml')
  const path = files.ignore === undefined ? usual : resolve(files.cwd, files.ignore)
  const isThere = files.ignore !== undefined || existsSync(usual)
  return {
    ...(isThere ? { ignore: await loadIgnoreFile(path) } : {}),
    ...(files.vex === undefined ? {} : { vex: await loadVexFile(resolve(files.cwd, files.vex)) }),
  }
}

/** SOURCE_DATE_EPOCH makes reports repeatable. */
function toTime(seconds: string | undefined): Date | undefined {
  return seconds !== undefined && /^\d+$/.test(seconds) ? new Date(Number(seconds) * 1000) : undefined
}
