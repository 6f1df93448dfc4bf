import semver from 'semver'

import { runCommand } from '../run-command.ts'

/** How npm is asked. */
export interface NpmOptions {
  cwd: string
  env: NodeJS.ProcessEnv
  signal?: AbortSignal | undefined
}

/** Published versions from the asked one on. */
export interface Published {
  version: string
  deprecated?: string | undefined
}

const TIMEOUT_MS = 30_000

/** Versions of a package from `current` on, lowest first, and its tag `latest`: asked by the machine's own npm. */
export async function publishedSince(
  name: string,
  current: string,
  options: NpmOptions,
): Promise<{ versions: Published[]; latest: string | undefined }> {
  const fields = ['name', 'version', 'deprecated', 'dist-tags.latest']
  const args = ['view', `${name}@>=${current}`, ...fields, '--json', '--fetch-retries=1', '--fetch-timeout=10000']
  const text = await runCommand('npm', args, { ...options, timeoutMs: TIMEOUT_MS })
  const value: unknown = text.trim() === '' ? [] : JSON.parse(text)
  const rows = (Array.isArray(value) ? value : [value]) as Record<string, unknown>[]
  const versions = rows.flatMap(({ version, deprecated }) =>
    typeof version === 'string' && semver.valid(version) !== null
      ? [{ version, deprecated: typeof deprecated === 'string' ? deprecated : undefined }]
      : [],
  )
  const latest = rows.map((row) => row['dist-tags.latest']).find((tag) => typeof tag === 'string')
  return { versions: versions.toSorted((a, b) => semver.compare(a.version, b.version)), latest }
}
