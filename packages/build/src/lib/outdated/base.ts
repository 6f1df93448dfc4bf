import { mkdtemp, rm } from 'node:fs/promises'
import { join } from 'node:path'
import { tmpdir } from 'node:os'

import { parseReference } from '@fairlead/oci'
import type { ImageConfig } from '@fairlead/oci'
import { createUserClient } from '@fairlead/oci/registry'

import { openApt } from '../base/apt.ts'
import { runCommand } from '../run-command.ts'
import type { Component } from '../scan/inventory/component.ts'
import { compareDpkg } from '../scan/versions/dpkg.ts'
import type { OutdatedItem, OutdatedPart } from './report.ts'

/** How bases are asked about. */
export interface BaseCheckOptions {
  architecture: 'amd64' | 'arm64'
  env: NodeJS.ProcessEnv
  isOffline: boolean
  signal?: AbortSignal | undefined
}

const COMMAND = 'fairlead build --refresh-base'
const TIMEOUT_MS = 20_000

/** A base image: whether its tag still means the digest it was built on (annotations `base.name` and `base.digest`). */
export async function outdatedBaseImage(config: ImageConfig, options: BaseCheckOptions): Promise<OutdatedPart> {
  const labels = config.config?.Labels ?? {}
  const name = labels['org.opencontainers.image.base.name']
  const digest = labels['org.opencontainers.image.base.digest']
  if (name === undefined || digest === undefined) return { items: [], checked: 0, notChecked: [] }
  const timeout = AbortSignal.timeout(TIMEOUT_MS)
  const signal = options.signal ? AbortSignal.any([options.signal, timeout]) : timeout
  const now = options.isOffline
    ? undefined
    : await createUserClient({ env: options.env })
        .manifest(parseReference(name), signal)
        .then((answer) => answer.descriptor.digest)
        .catch(() => undefined)
  options.signal?.throwIfAborted()
  if (now === undefined) {
    const reason = options.isOffline ? 'offline' : 'its registry did not answer'
    return { items: [], checked: 0, notChecked: [`base image ${name}: ${reason}`] }
  }
  if (now === digest) return { items: [], checked: 1, notChecked: [] }
  const versions = { current: digest, wanted: now, latest: now }
  return {
    checked: 1,
    notChecked: [],
    items: [
      {
        kind: 'base',
        name,
        ...versions,
        isSecurity: false,
        notes: ['the tag means another image now'],
        command: COMMAND,
      },
    ],
  }
}

/**
 * Debian packages against the indexes apt has checked the signatures of. One that is newer in a `-security` suite mends a
 * vulnerability; no database of advisories is needed for that.
 */
export async function outdatedDebianPackages(
  components: readonly Component[],
  options: BaseCheckOptions,
): Promise<OutdatedPart> {
  const packages = components.filter(({ purl }) => purl.startsWith('pkg:deb/debian/'))
  if (packages.length === 0) return { items: [], checked: 0, notChecked: [] }
  const gap = (reason: string): OutdatedPart => ({
    items: [],
    checked: 0,
    notChecked: [`${packages.length} Debian packages of the base: ${reason}`],
  })
  if (options.isOffline) return gap('offline')
  const dir = await mkdtemp(join(tmpdir(), 'fairlead-apt-'))
  try {
    const text = await askApt(
      packages.map(({ name }) => name),
      dir,
      options,
    )
    const suites = parseMadison(text)
    const [, release = ''] = /^Debian:(.*)$/.exec(packages[0]?.ecosystems[0] ?? '') ?? []
    const isSame = suites.some(({ suite }) => suite.split('-')[0]?.split('/')[0] === CODENAMES[release])
    if (!isSame) return gap(`the sources of apt on this machine are not those of Debian ${release}`)
    const items = packages.map((found) => compare(found, suites, CODENAMES[release] ?? ''))
    return { items: items.filter((item) => item !== undefined), checked: packages.length, notChecked: [] }
  } catch {
    options.signal?.throwIfAborted()
    return gap('apt could not fetch the indexes')
  } finally {
    await rm(dir, { recursive: true, force: true })
  }
}

/** Suites are named by these in the sources of apt (https://www.debian.org/releases/). */
const CODENAMES: Readonly<Record<string, string>> = { 11: 'bullseye', 12: 'bookworm', 13: 'trixie', 14: 'forky' }

async function askApt(names: readonly string[], dir: string, options: BaseCheckOptions): Promise<string> {
  const { architecture, env, signal } = options
  const apt = await openApt({ dir, architecture, env, signal })
  await apt.update()
  return runCommand('apt-cache', ['-c', join(dir, 'apt.conf'), 'madison', ...names], {
    env: { ...env, LC_ALL: 'C' },
    signal,
  })
}

interface Candidate {
  name: string
  version: string
  suite: string
}

/** `apt-cache madison`: package, version, and `URL suite/component architecture Packages`. */
export function parseMadison(text: string): Candidate[] {
  return text.split('\n').flatMap((line) => {
    const [name = '', version = '', source = ''] = line.split('|').map((part) => part.trim())
    const suite = source.split(' ')[1] ?? ''
    return version === '' || suite === '' || source.endsWith('Sources') ? [] : [{ name, version, suite }]
  })
}

function compare(found: Component, candidates: readonly Candidate[], codename: string): OutdatedItem | undefined {
  const newer = candidates
    .filter(({ name, suite }) => name === found.name && suite.startsWith(codename))
    .filter(({ version }) => compareDpkg(version, found.version) > 0)
    .toSorted((a, b) => compareDpkg(b.version, a.version))
  const [newest] = newer
  if (!newest) return undefined
  const security = newer.find(({ suite }) => suite.includes('-security'))
  return {
    kind: 'base',
    name: found.name,
    current: found.version,
    wanted: newest.version,
    latest: newest.version,
    isSecurity: security !== undefined,
    notes: security ? [`${security.version} is in ${security.suite.split('/')[0]}`] : [],
    command: COMMAND,
  }
}
