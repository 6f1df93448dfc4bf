import { readFileSync, statSync } from 'node:fs'

import { kubeconfigInvalid } from './errors.ts'

/** How often the files are looked at. Certificates are renewed days before their end, tokens minutes. */
const recheckMs = 10_000

/**
 * The PEM given inline (base64) or by file name; inline wins, as in kubectl. A file is read again when it was replaced; while the
 * new one cannot be read, the last counts.
 */
export function createPemSource(
  data: string | undefined,
  file: string | undefined,
  now: () => number = Date.now,
): () => string | undefined {
  if (data !== undefined && data !== '') {
    const pem = Buffer.from(data, 'base64').toString('utf8')
    return () => pem
  }
  if (file === undefined || file === '') {
    return () => undefined
  }
  let pem = readPem(file)
  let version = versionOf(file)
  let lookedAt = now()
  return () => {
    if (now() - lookedAt >= recheckMs) {
      lookedAt = now()
      const current = versionOf(file)
      if (current !== undefined && current !== version) {
        pem = readIfWhole(file) ?? pem
        version = current
      }
    }
    return pem
  }
}

/** Changes whenever the file is written or another takes its place. */
function versionOf(file: string): string | undefined {
  const stats = statSync(file, { throwIfNoEntry: false })
  return stats === undefined ? undefined : `${stats.ino} ${stats.size} ${stats.mtimeMs}`
}

function readIfWhole(file: string): string | undefined {
  try {
    const text = readFileSync(file, 'utf8')
    return text.includes('-----END') ? text : undefined
  } catch {
    return undefined
  }
}

function readPem(file: string): string {
  try {
    return readFileSync(file, 'utf8')
  } catch (cause) {
    throw kubeconfigInvalid(file, 'file cannot be read', 'Correct the file name in the kubeconfig', cause)
  }
}
