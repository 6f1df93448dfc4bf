import { randomUUID } from 'node:crypto'
import { chmod, lstat, mkdir, open, readFile, realpath, rename, rm } from 'node:fs/promises'
import { homedir } from 'node:os'
import { dirname, join } from 'node:path'

import { credentialsUnusable } from '../errors.ts'
import { withLock } from '../layout/lock.ts'
import type { Credentials } from './auth.ts'
import { loadCloudCredentials } from './credentials-cloud.ts'
import { eraseFromHelper, getFromHelper, storeInHelper } from './credentials-helper.ts'

/** Where credentials come from. */
export interface KeychainOptions {
  /** Default: the environment of this process. */
  env?: NodeJS.ProcessEnv | undefined
  /** Longest time for a credential helper; default 30 s. */
  helperTimeoutMs?: number | undefined
  /** Whether the identity of this machine at its cloud counts where no file has credentials; default true. */
  useCloud?: boolean | undefined
}

/** Credentials of registries as Docker and Podman keep them. Nothing is read before it is asked for. */
export interface Keychain {
  /**
   * Credentials for a registry host: from the file that `REGISTRY_AUTH_FILE` names, else from Docker's and then
   * Podman's files, with their credential helpers; else from the identity of this machine at AWS, Google Cloud or
   * Azure, for their registries. `FAIRLEAD_OCI_CREDENTIALS` when a source there is cannot be used.
   */
  get(registry: string, signal?: AbortSignal): Promise<Credentials | undefined>
  /** Keeps credentials, in the credential helper of the first file or in that file; returns where. */
  store(registry: string, credentials: Credentials, signal?: AbortSignal): Promise<string>
  /** Forgets credentials wherever they are kept; returns where they were. */
  erase(registry: string, signal?: AbortSignal): Promise<string[]>
}

export interface AuthEntry {
  auth?: unknown
  username?: unknown
  password?: unknown
  identitytoken?: unknown
  registrytoken?: unknown
}

interface AuthFile {
  auths?: Record<string, AuthEntry>
  credHelpers?: Record<string, string>
  credsStore?: string
}

const MAX_FILE_BYTES = 1 << 20

/** The keychain of the user that `env` describes. */
export function createKeychain(options: KeychainOptions = {}): Keychain {
  const { env = process.env, useCloud = true } = options
  const paths = filesOf(env)
  const helper = (
    signal?: AbortSignal,
  ): { env: NodeJS.ProcessEnv; timeoutMs: number | undefined; signal: AbortSignal | undefined } => ({
    env,
    timeoutMs: options.helperTimeoutMs,
    signal,
  })
  return {
    async get(registry, signal) {
      for (const path of paths) {
        const found = await fromFile(await readAuthFile(path), path, registry, helper(signal))
        if (found) return found
      }
      return useCloud ? loadCloudCredentials(registry, env, signal) : undefined
    },
    async store(registry, credentials, signal) {
      const path = paths[0] ?? ''
      const file = await readAuthFile(path)
      const name = helperOf(file, registry)
      if (name) {
        await storeInHelper(name, serverOf(registry), credentials, helper(signal))
        return `docker-credential-${name}`
      }
      await changeAuthFile(path, (value) => {
        value.auths = { ...value.auths, [serverOf(registry)]: renderEntry(credentials) }
        return true
      })
      return path
    },
    async erase(registry, signal) {
      const places: string[] = []
      for (const path of paths) {
        const file = await readAuthFile(path)
        const name = helperOf(file, registry)
        if (name && (await eraseFromHelper(name, serverOf(registry), helper(signal))))
          places.push(`docker-credential-${name}`)
        if (!keysFor(file, registry)[0]) continue
        const isChanged = await changeAuthFile(path, (value) => {
          const keys = keysFor(value, registry)
          for (const key of keys) delete value.auths?.[key]
          return keys.length > 0
        })
        if (isChanged) places.push(path)
      }
      return places
    },
  }
}

/** Files with credentials, first the one that is written to. */
function filesOf(env: NodeJS.ProcessEnv): string[] {
  const named = env['REGISTRY_AUTH_FILE']
  if (named) return [named]
  const home = env['HOME'] ?? homedir()
  const runtime = env['XDG_RUNTIME_DIR']
  return [
    join(env['DOCKER_CONFIG'] || join(home, '.docker'), 'config.json'),
    ...(runtime ? [join(runtime, 'containers', 'auth.json')] : []),
    join(env['XDG_CONFIG_HOME'] || join(home, '.config'), 'containers', 'auth.json'),
  ]
}

async function fromFile(
  file: AuthFile,
  path: string,
  registry: string,
  options: Parameters<typeof getFromHelper>[2],
): Promise<Credentials | undefined> {
  const special = file.credHelpers?.[registry]
  if (special) return getFromHelper(special, serverOf(registry), options)
  for (const key of keysFor(file, registry)) {
    const entry = parseEntry(path, key, file.auths?.[key] ?? {})
    if (entry) return entry
  }
  return file.credsStore ? getFromHelper(file.credsStore, serverOf(registry), options) : undefined
}

function helperOf(file: AuthFile, registry: string): string | undefined {
  return file.credHelpers?.[registry] ?? (file.credsStore || undefined)
}

/** Keys of a registry in `auths`: Docker writes addresses of some, and hosts of others. */
function keysFor(file: AuthFile, registry: string): string[] {
  const hosts = new Set([registry, ...(registry === 'docker.io' ? ['index.docker.io', 'registry-1.docker.io'] : [])])
  return Object.keys(file.auths ?? {}).filter((key) => {
    const [host = '', ...path] = key.replace(/^https?:\/\//, '').split('/')
    return hosts.has(host) && ['', 'v1', 'v2'].includes(path.filter((part) => part !== '').join('/'))
  })
}

/** Docker Hub is known by the address of its first version, everywhere. */
function serverOf(registry: string): string {
  return registry === 'docker.io' ? 'https://index.docker.io/v1/' : registry
}

/** The credentials of one entry of `auths`; `undefined` when it says only that somebody else has them. */
export function parseEntry(path: string, key: string, entry: AuthEntry): Credentials | undefined {
  const text = (value: unknown): string => (typeof value === 'string' ? value : '')
  const pair = text(entry.auth) ? Buffer.from(text(entry.auth), 'base64').toString() : ''
  const colon = pair.indexOf(':')
  if (pair !== '' && colon === -1) throw broken(path, `"auth" of "${key}" has no colon in it`)
  // Docker pads some passwords with NUL.
  const username = pair === '' ? text(entry.username) : pair.slice(0, colon)
  const password = pair === '' ? text(entry.password) : pair.slice(colon + 1).replaceAll('\0', '')
  const identityToken = text(entry.identitytoken)
  const registryToken = text(entry.registrytoken)
  // An entry without content says only that a helper has it.
  if (password === '' && identityToken === '' && registryToken === '') return undefined
  return {
    username,
    password,
    ...(identityToken ? { identityToken } : {}),
    ...(registryToken ? { registryToken } : {}),
  }
}

function renderEntry({ username, password, identityToken }: Credentials): AuthEntry {
  const auth = Buffer.from(`${username}:${password}`).toString('base64')
  return { auth, ...(identityToken ? { identitytoken: identityToken } : {}) }
}

async function readAuthFile(path: string): Promise<AuthFile> {
  let text: string
  try {
    if ((await lstat(path)).size > MAX_FILE_BYTES) throw broken(path, `it is larger than ${MAX_FILE_BYTES} bytes`)
    text = await readFile(path, 'utf8')
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException
    if (code === 'ENOENT' || code === 'ENOTDIR') return {}
    if (code?.startsWith('FAIRLEAD_')) throw error
    throw broken(path, `it cannot be read (${code})`, error)
  }
  if (text.trim() === '') return {}
  let value: unknown
  try {
    value = JSON.parse(text)
  } catch {
    // The message of the parser quotes what may be a secret.
    throw broken(path, 'it is no JSON')
  }
  if (typeof value !== 'object' || value === null || Array.isArray(value)) throw broken(path, 'it is no JSON object')
  return value
}

/** Changes a file as a whole, readable by its owner only; what others keep in it stays. */
async function changeAuthFile(path: string, change: (value: AuthFile) => boolean): Promise<boolean> {
  try {
    await mkdir(dirname(path), { recursive: true, mode: 0o700 })
    // A link is followed, so that the file it leads to changes and not the link.
    const target = await realpath(path).catch(() => path)
    return await withLock(`${target}.fairlead-lock`, async () => {
      const value = await readAuthFile(target)
      if (!change(value)) return false
      await replaceFile(target, `${JSON.stringify(value, undefined, '\t')}\n`)
      return true
    })
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException
    if (code?.startsWith('FAIRLEAD_')) throw error
    throw broken(path, `it cannot be written (${code})`, error)
  }
}

async function replaceFile(path: string, text: string): Promise<void> {
  const temporary = `${path}.${randomUUID()}`
  try {
    const file = await open(temporary, 'wx', 0o600)
    try {
      await file.writeFile(text)
      await file.datasync()
    } finally {
      await file.close()
    }
    await chmod(temporary, 0o600)
    await rename(temporary, path)
  } catch (error) {
    await rm(temporary, { force: true })
    throw error
  }
}

function broken(path: string, state: string, cause?: unknown): Error {
  return credentialsUnusable(path, state, 'Correct the file, or name another with REGISTRY_AUTH_FILE', cause)
}
