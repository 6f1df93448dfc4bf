// Commands as a user who is not root: root lends the user nobody what that takes.
import { chownSync, cpSync, existsSync, readdirSync } from 'node:fs'
import { homedir } from 'node:os'
import { join } from 'node:path'
import { Home, repository, run } from './machine.ts'

const nobody = 65534
const isRoot = process.getuid?.() === 0

/** Who the commands of {@link unprivilegedHome} run as. */
export const unprivilegedUser: number | undefined = isRoot ? nobody : process.getuid?.()

/** Why root cannot lend it; false where it can, or where this user is not root. */
export async function whyNotAsNobody(): Promise<string | false> {
  if (!isRoot) return false
  const manifest = join(repository, 'package.json')
  const { code } = await run(process.execPath, ['-e', `require('fs').accessSync(${JSON.stringify(manifest)})`], {
    cwd: '/',
    uid: nobody,
  }).catch(() => ({ code: 1 }))
  // Where the clone lies is its owner's choice, not a program that set-up could install: a skip everywhere.
  return code === 0 ? false : `the user nobody cannot read ${repository} or run ${process.execPath}`
}

/** A home whose commands run without privileges, with a copy of this user's cache so that bases are not fetched again. */
export function unprivilegedHome(env: NodeJS.ProcessEnv = {}): Home {
  if (!isRoot) return new Home(env)
  const home = new Home(env, { uid: nobody })
  lendCache(join(home.dir, 'cache'))
  return home
}

function lendCache(target: string): void {
  const own =
    process.env['FAIRLEAD_CACHE'] ?? join(process.env['XDG_CACHE_HOME'] ?? join(homedir(), '.cache'), 'fairlead')
  for (const name of ['layers', 'records']) {
    if (existsSync(join(own, name))) cpSync(join(own, name), join(target, name), { recursive: true })
  }
  give(target)
}

/** Makes a folder and all in it the unprivileged user's. */
export function give(folder: string): void {
  if (!isRoot || !existsSync(folder)) return
  for (const entry of ['', ...readdirSync(folder, { recursive: true, encoding: 'utf8' })]) {
    chownSync(join(folder, entry), nobody, nobody)
  }
}
