import { readFileSync } from 'node:fs'
import { join } from 'node:path'

import type { ImageConfig } from '@fairlead/oci'
import type { TarEntry } from '@fairlead/oci/archive'

import { hashKey } from '../layers/cache.ts'
import type { BuildCache } from '../layers/cache.ts'
import type { Project } from '../source/project.ts'
import { isAllowed, loadAllowedSecrets } from './allow.ts'
import type { AllowedSecret } from './allow.ts'
import { detectNamedSecrets, detectSecrets } from './detect.ts'
import type { SecretFinding } from './detect.ts'
import { secretsFound } from './errors.ts'
import { RULES_VERSION } from './rules.ts'

/** How to check. */
export interface CheckSecretsOptions {
  cache: Pick<BuildCache, 'read' | 'write'>
  /** In addition to the list that lies in the folder of the service. */
  allowed?: readonly AllowedSecret[] | undefined
}

/** Refuses files that hold what looks like a credential: throws `FAIRLEAD_BUILD_SECRET` naming all of them. */
export async function checkFiles(
  project: Pick<Project, 'dir'>,
  entries: readonly TarEntry[],
  { cache, allowed = [] }: CheckSecretsOptions,
): Promise<void> {
  const key = `secrets-clean-${hashKey(RULES_VERSION, project.dir)}`
  const before = (await cache.read<string[]>(key)) ?? []
  const known = new Set(before)
  const clean = new Set(before)
  const readSource = sourceReader(project.dir)
  const findings: SecretFinding[] = []
  for (const { path, content } of entries) {
    if (content instanceof Uint8Array) {
      findings.push(...detectSecrets(path.replace(/^app\//, ''), content, { clean, readSource }))
    }
  }
  if (clean.size > known.size) await cache.write(key, [...clean].slice(-MAX_KNOWN))
  await refuse(project.dir, findings, allowed)
}

/** Entries of about 30 bytes. */
const MAX_KNOWN = 50_000

/** Refuses environment variables and labels that hold what looks like a credential. */
export async function checkConfig(
  project: Pick<Project, 'dir'>,
  config: ImageConfig,
  { allowed = [] }: Pick<CheckSecretsOptions, 'allowed'>,
): Promise<void> {
  const { Env = [], Labels = {} } = config.config ?? {}
  const variables = Env.map((entry): [string, string] => {
    const equals = entry.indexOf('=')
    return [entry.slice(0, equals), entry.slice(equals + 1)]
  })
  const findings = detectNamedSecrets('image configuration', [...variables, ...Object.entries(Labels)])
  await refuse(project.dir, findings, allowed)
}

async function refuse(
  dir: string,
  findings: readonly SecretFinding[],
  allowed: readonly AllowedSecret[],
): Promise<void> {
  if (findings.length === 0) return
  const all = [...allowed, ...(await loadAllowedSecrets(dir))]
  const left = findings.filter((finding) => !isAllowed(finding, all))
  if (left.length > 0) throw secretsFound(dir, left)
}

/** Findings are rare, so source files are read only then. */
function sourceReader(dir: string): (path: string) => string | undefined {
  return (path) => {
    try {
      return readFileSync(join(dir, path), 'latin1')
    } catch {
      return undefined
    }
  }
}
