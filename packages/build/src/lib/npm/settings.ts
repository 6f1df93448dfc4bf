import { readFile, realpath, stat } from 'node:fs/promises'
import { homedir } from 'node:os'
import { delimiter, dirname, isAbsolute, join } from 'node:path'

import { LeftToNpm } from './left-to-npm.ts'

/** What of npm's configuration an installation from its cache needs. */
export interface NpmSettings {
  /** Folder of npm's cache, with `_cacache` in it. */
  cacheDir: string
  /** Whether scripts of packages do not run. */
  ignoresScripts: boolean
  /** Whether npm's records leave out where packages came from. */
  omitsResolved: boolean
}

/** Settings that neither change which files lie where nor which scripts run. */
const HARMLESS = new Set(
  `_auth _authtoken _password always-auth audit audit-level auth-type ca cafile color email fetch-retries fetch-retry-factor fetch-retry-maxtimeout fetch-retry-mintimeout
  fetch-timeout fund git global-prefix globalconfig heading https-proxy init-author-email init-author-name init-author-url
  init-license init-module init-version init.author.email init.author.name init.author.url init.license init.module init.version
  local-address local-prefix loglevel logs-dir logs-max maxsockets message node-gyp nodedir noproxy npm-version
  offline omit-lockfile-registry-resolved prefer-offline prefix progress proxy registry replace-registry-host save-exact
  save-prefix send-metrics strict-ssl tag unicode update-notifier user-agent userconfig username yes`.split(/\s+/),
)

/**
 * Reads npm's configuration for the project in `root` as npm does: npm's own, that of the machine, the user and the project, and
 * the environment (npm help npmrc). Throws {@link LeftToNpm} for any setting that may change what `npm ci` makes.
 */
export async function loadNpmSettings(root: string, env: NodeJS.ProcessEnv): Promise<NpmSettings> {
  const home = env['HOME'] ?? homedir()
  const own = environmentSettings(env)
  const user = own.get('userconfig') ?? join(home, '.npmrc')
  const files = [...(await machineFiles(env, own)), user, join(root, '.npmrc')]
  const found = await Promise.all(files.map(readSettings))
  const settings = new Map([...found, own].flatMap((part) => [...part]))
  for (const key of settings.keys()) checkKey(key)
  const cacheDir = settings.get('cache') ?? join(home, '.npm')
  const fromHome = cacheDir.startsWith('~/') ? join(home, cacheDir.slice(2)) : cacheDir
  if (!isAbsolute(fromHome) || fromHome.includes('${')) throw new LeftToNpm(`its cache is "${cacheDir}"`)
  const isSet = (key: string): boolean => settings.get(key) === 'true'
  return {
    cacheDir: fromHome,
    ignoresScripts: isSet('ignore-scripts'),
    omitsResolved: isSet('omit-lockfile-registry-resolved'),
  }
}

function checkKey(key: string): void {
  const isOfRegistry = key.startsWith('//') || /^@[^:]+:registry$/.test(key)
  const isKnown = HARMLESS.has(key.toLowerCase()) || key === 'cache' || key === 'ignore-scripts'
  if (!isOfRegistry && !isKnown) throw new LeftToNpm(`its configuration sets "${key}"`)
}

function environmentSettings(env: NodeJS.ProcessEnv): Map<string, string> {
  const settings = new Map<string, string>()
  for (const [name, value] of Object.entries(env)) {
    if (!/^npm_config_/i.test(name) || !value) continue
    const key = name.slice('npm_config_'.length)
    settings.set(key.startsWith('//') ? key : key.replaceAll(/(?!^)_/g, '-').toLowerCase(), value)
  }
  return settings
}

/** The file npm brings, and the one of the machine, which lies beside the Node.js that runs npm. */
async function machineFiles(env: NodeJS.ProcessEnv, own: ReadonlyMap<string, string>): Promise<string[]> {
  const [npm, node] = await Promise.all([findProgram('npm', env), findProgram('node', env)])
  const bundled = npm === undefined ? [] : [join(dirname(dirname(await realpath(npm))), 'npmrc')]
  const named = own.get('globalconfig')
  if (named !== undefined) return [...bundled, named]
  const programs = node === undefined ? [] : [node, await realpath(node)]
  const prefixes = [own.get('prefix') ?? env['PREFIX'], ...programs.map((path) => dirname(dirname(path)))]
  const places = prefixes.filter((prefix) => prefix !== undefined).map((prefix) => join(prefix, 'etc', 'npmrc'))
  return [...bundled, ...new Set(places)]
}

async function findProgram(name: string, env: NodeJS.ProcessEnv): Promise<string | undefined> {
  for (const dir of (env['PATH'] ?? '').split(delimiter)) {
    const path = join(dir, name)
    if (isAbsolute(path) && (await stat(path).catch(() => undefined))?.isFile()) return path
  }
  return undefined
}

/** `key = value` on a line each (npm's ini); a line that is anything else is a key nobody knows. */
async function readSettings(path: string): Promise<Map<string, string>> {
  const text = await readFile(path, 'utf8').catch((error: NodeJS.ErrnoException) => {
    if (error.code === 'ENOENT' || error.code === 'ENOTDIR') return ''
    throw new LeftToNpm(`"${path}" cannot be read`)
  })
  const lines = text.split(/\r?\n/).map((line) => line.trim())
  return new Map(
    lines
      .filter((line) => line !== '' && !/^[#;]/.test(line))
      .map((line) => {
        const equals = line.indexOf('=')
        const key = (equals === -1 ? line : line.slice(0, equals)).trim()
        const value = equals === -1 ? 'true' : line.slice(equals + 1).trim()
        return [key, value.replace(/^(["'])(.*)\1$/, '$2')] as const
      }),
  )
}
