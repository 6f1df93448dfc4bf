import { runCommand } from '../run-command.ts'

/** The state of version control a build came from. */
export interface Revision {
  /** Commit that last changed the folder; `-dirty` is appended when it has changes that are not committed. */
  commit: string
  committedAt: Date
}

/**
 * git refuses a repository that belongs to somebody else, for its settings can name programs to run. Building runs the code in the
 * folder anyway, and the image would depend on who builds it. Programs that reading does not need are turned off.
 */
const SETTINGS = ['-c', 'safe.directory=*', '-c', 'core.fsmonitor=false', '-c', 'log.showSignature=false']

/** Asks git about `dir`; `undefined` when it is not under version control or git is not installed. */
export async function loadRevision(
  dir: string,
  env: NodeJS.ProcessEnv,
  signal?: AbortSignal,
): Promise<Revision | undefined> {
  const options = { cwd: dir, env: { ...env, GIT_OPTIONAL_LOCKS: '0' }, signal, timeoutMs: 10_000 }
  try {
    const [log, status] = await Promise.all([
      runCommand('git', [...SETTINGS, 'log', '-1', '--format=%H %ct', '--', '.'], options),
      runCommand('git', [...SETTINGS, 'status', '--porcelain', '--', '.'], options),
    ])
    const [commit, seconds] = log.trim().split(' ')
    if (!commit || !seconds) return undefined
    const committedAt = new Date(Number(seconds) * 1000)
    return { commit: status.trim() === '' ? commit : `${commit}-dirty`, committedAt }
  } catch {
    signal?.throwIfAborted()
    return undefined
  }
}

/** The time written into the image: SOURCE_DATE_EPOCH (reproducible-builds.org), else the commit's, else 1970. */
export function creationTime(env: NodeJS.ProcessEnv, revision: Revision | undefined): Date {
  const epoch = env['SOURCE_DATE_EPOCH']
  if (epoch !== undefined && /^\d+$/.test(epoch)) return new Date(Number(epoch) * 1000)
  return revision?.committedAt ?? new Date(0)
}
