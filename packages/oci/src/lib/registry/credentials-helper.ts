import { spawn } from 'node:child_process'

import { credentialsUnusable } from '../errors.ts'
import type { Credentials } from './auth.ts'

/** How to run a credential helper. */
export interface HelperOptions {
  env: NodeJS.ProcessEnv
  /** Default 30 s: some ask a cloud, or a person for the password of a key ring. */
  timeoutMs?: number | undefined
  signal?: AbortSignal | undefined
}

const MAX_OUTPUT_BYTES = 1 << 20
const TIMEOUT_MS = 30_000
/** What helpers say when they know nothing, and Docker takes for that too (docker-credential-helpers). */
const NOT_FOUND = 'credentials not found in native keychain'
/** The user name by which a helper marks its secret as an identity token. */
const TOKEN_USER = '<token>'

/** What `docker-credential-NAME` knows of a server; nothing when it knows nothing. `FAIRLEAD_OCI_CREDENTIALS`. */
export async function getFromHelper(
  name: string,
  server: string,
  options: HelperOptions,
): Promise<Credentials | undefined> {
  const { code, output } = await runHelper(name, 'get', server, options)
  if (code !== 0) {
    if (output.includes(NOT_FOUND)) return undefined
    throw failed(name, 'get', output)
  }
  let answer: { Username?: unknown; Secret?: unknown } | null | undefined
  try {
    answer = JSON.parse(output)
  } catch {
    // Its output may hold a secret, so it is not shown.
    throw failed(name, 'get', 'its answer is no JSON')
  }
  const { Username: username, Secret: secret } = answer ?? {}
  if (typeof username !== 'string' || typeof secret !== 'string') throw failed(name, 'get', 'its answer has no secret')
  if (secret === '') return undefined
  return username === TOKEN_USER
    ? { username: '', password: '', identityToken: secret }
    : { username, password: secret }
}

/** Gives `docker-credential-NAME` credentials to keep. */
export async function storeInHelper(
  name: string,
  server: string,
  credentials: Credentials,
  options: HelperOptions,
): Promise<void> {
  const { username, password, identityToken } = credentials
  const Username = identityToken ? TOKEN_USER : username
  const input = JSON.stringify({ ServerURL: server, Username, Secret: identityToken ?? password })
  const { code, output } = await runHelper(name, 'store', input, options)
  if (code !== 0) throw failed(name, 'store', output)
}

/** Lets `docker-credential-NAME` forget a server. Returns whether it knew it. */
export async function eraseFromHelper(name: string, server: string, options: HelperOptions): Promise<boolean> {
  const { code, output } = await runHelper(name, 'erase', server, options)
  if (code !== 0 && !output.includes(NOT_FOUND)) throw failed(name, 'erase', output)
  return code === 0
}

async function runHelper(
  name: string,
  act: 'get' | 'store' | 'erase',
  input: string,
  { env, timeoutMs = TIMEOUT_MS, signal }: HelperOptions,
): Promise<{ code: number; output: string }> {
  const program = programOf(name)
  // The name comes from a file and becomes that of a program.
  if (!/^[A-Za-z0-9._-]+$/.test(name)) {
    throw credentialsUnusable(
      program,
      'that is no name of a helper',
      'Correct "credsStore" or "credHelpers" in the file',
    )
  }
  signal?.throwIfAborted()
  const child = spawn(program, [act], { env, stdio: ['pipe', 'pipe', 'pipe'] })
  const timer = AbortSignal.timeout(timeoutMs)
  const kill = (): void => void child.kill('SIGKILL')
  const end = signal ? AbortSignal.any([signal, timer]) : timer
  end.addEventListener('abort', kill, { once: true })
  try {
    return await new Promise((resolve, reject) => {
      const out: Buffer[] = []
      let size = 0
      const take = (chunk: Buffer): void => {
        size += chunk.byteLength
        if (size > MAX_OUTPUT_BYTES) kill()
        else out.push(chunk)
      }
      // Errors are written to either, depending on the helper.
      child.stdout.on('data', take)
      child.stderr.on('data', (chunk: Buffer) => act !== 'get' && take(chunk))
      child.stderr.resume()
      child.stdin.on('error', () => {})
      child.stdin.end(input)
      child.once('error', reject)
      child.once('close', (code) => resolve({ code: code ?? -1, output: Buffer.concat(out).toString().trim() }))
    })
  } catch (error) {
    const state =
      (error as NodeJS.ErrnoException).code === 'ENOENT' ? 'the program is not on the PATH' : 'it cannot be run'
    throw credentialsUnusable(program, state, 'Install it, or remove it from the configuration file', error)
  } finally {
    end.removeEventListener('abort', kill)
    signal?.throwIfAborted()
    if (timer.aborted) {
      // oxlint-disable-next-line no-unsafe-finally
      throw credentialsUnusable(
        program,
        `it did not answer within ${timeoutMs} ms`,
        'Run it by hand to see what it waits for',
      )
    }
  }
}

function programOf(name: string): string {
  return `docker-credential-${name}`
}

function failed(name: string, act: string, output: string): Error {
  const says = output.split('\n', 1)[0]?.slice(0, 200) ?? ''
  const state = says === '' ? `"${act}" failed` : `"${act}" failed: ${says}`
  return credentialsUnusable(programOf(name), state, 'Run the helper by hand to see why, or log in again')
}
