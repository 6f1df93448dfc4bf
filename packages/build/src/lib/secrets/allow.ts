import { readFile } from 'node:fs/promises'
import { join, matchesGlob } from 'node:path'

import type { SecretFinding } from './detect.ts'
import { allowListInvalid } from './errors.ts'

/** A finding that is no secret, or one that may be in the image. */
export interface AllowedSecret {
  /** Of the finding, such as `jwt`. */
  rule: string
  /** Of the finding; may be a glob. */
  path: string
  reason: string
  /** Of the finding; absent: every finding of the rule in the file. */
  fingerprint?: string | undefined
}

const NAMES = ['fairlead.secrets.yaml', 'fairlead.secrets.yml', 'fairlead.secrets.json']

/** The list that lies in the folder of a service; empty without one. Throws `FAIRLEAD_BUILD_SECRET_ALLOW`. */
export async function loadAllowedSecrets(dir: string): Promise<AllowedSecret[]> {
  for (const name of NAMES) {
    const path = join(dir, name)
    const text = await readFile(path, 'utf8').catch(() => undefined)
    if (text !== undefined) return parseAllowedSecrets(path, text)
  }
  return []
}

/** As {@link loadAllowedSecrets}, of text. */
export async function parseAllowedSecrets(path: string, text: string): Promise<AllowedSecret[]> {
  // Loaded here and not above: few services have such a list.
  const { parse } = await import('yaml')
  let value: unknown
  try {
    value = parse(text, { maxAliasCount: 10 }) as unknown
  } catch (error) {
    throw allowListInvalid(path, 'it is neither YAML nor JSON', error)
  }
  const list = (value as { allow?: unknown } | null)?.allow
  if (!Array.isArray(list)) throw allowListInvalid(path, 'it has no list "allow"')
  return list.map((item: unknown, index) => {
    const { rule, path: file, reason, fingerprint } = (item ?? {}) as Record<string, unknown>
    for (const [name, field] of Object.entries({ rule, path: file, reason })) {
      if (typeof field !== 'string' || field.trim() === '') {
        throw allowListInvalid(path, `entry ${index + 1} has no "${name}"`)
      }
    }
    if (fingerprint !== undefined && typeof fingerprint !== 'string') {
      throw allowListInvalid(path, `entry ${index + 1} has a "fingerprint" that is no text`)
    }
    return { rule, path: file, reason, fingerprint } as AllowedSecret
  })
}

/** Whether an entry of the list is about the finding. */
export function isAllowed(finding: SecretFinding, allowed: readonly AllowedSecret[]): boolean {
  return allowed.some(
    ({ rule, path, fingerprint }) =>
      rule === finding.rule &&
      (path === finding.path || matchesGlob(finding.path, path)) &&
      (fingerprint === undefined || fingerprint === finding.fingerprint),
  )
}
