import { readFile } from 'node:fs/promises'
import { dirname, isAbsolute, resolve } from 'node:path'
import { parseYaml } from '@fairlead/kube/codec'
import { parseReference } from '@fairlead/oci'
import { openLayout } from '@fairlead/oci/layout'
import {
  loadSigningKey,
  loadVerificationKey,
  openLayoutHome,
  openRegistryHome,
  parseImagePolicy,
  predicateNames,
  toPredicateType,
} from '@fairlead/oci/sign'
import type { ImageHome, ImagePolicy, SigningKey, VerificationKey } from '@fairlead/oci/sign'
import type { Flag, TextOption } from '../command.ts'
import { inputUnreadable, usage } from '../errors.ts'
import type { Homes } from '../homes.ts'
import { askSecret } from '../terminal/ask.ts'
import { openClient } from './registry.ts'

/** `--key KEY` of commands that sign. */
export const signingKeyOption: TextOption = {
  type: 'string',
  value: 'KEY',
  help: 'private key: a file or env://NAME; COSIGN_PASSWORD has its passphrase',
}
/** `--key KEY` of commands that verify. */
export const publicKeyOption: TextOption = { type: 'string', value: 'KEY', help: 'public key: a file or env://NAME' }
/** `--legacy` */
export const legacyOption: Flag = { type: 'boolean', help: 'in the form of cosign 1 and 2, under a tag' }
/** `--annotations NAME=VALUE,…` */
export const annotationsOption: TextOption = {
  type: 'string',
  value: 'NAME=VALUE,…',
  help: 'facts that are signed with the image, or asked for',
}
/** `--image-policy FILE` */
export const imagePolicyOption: TextOption = {
  type: 'string',
  value: 'FILE',
  help: 'run only images this policy allows, YAML or JSON',
}
/** `--type TYPE` */
export const typeOption: TextOption = {
  type: 'string',
  value: 'TYPE',
  help: 'spdx, cyclonedx, slsaprovenance, vuln, openvex or a URI',
}

export const whereItLies =
  'Images under localhost/ are those of this machine; all others are looked up in their registry, unless --layout names\na local store. No other server is asked: no transparency log, no certificate authority.'

/** What opens the place of an image. */
export interface HomeOptions {
  readonly homes: Homes
  readonly env: NodeJS.ProcessEnv
  readonly layout?: string | undefined
  readonly insecure?: boolean
  readonly signal: AbortSignal
}

/** The image with its signatures, in the local store or in its registry. */
export async function openHome(reference: string, options: HomeOptions): Promise<ImageHome> {
  const { homes, env, layout, signal } = options
  if (layout !== undefined || parseReference(reference).registry === 'localhost') {
    return openLayoutHome(await openLayout(layout ?? homes.images), reference)
  }
  return openRegistryHome(reference, { client: openClient(env, options), signal })
}

/** The private key of `--key`; asks for its passphrase at a terminal. Throws FAIRLEAD_CLI_USAGE, FAIRLEAD_OCI_KEY. */
export async function openSigningKey(
  command: string,
  source: string | undefined,
  { env, cwd, signal }: { env: NodeJS.ProcessEnv; cwd: string; signal: AbortSignal },
): Promise<SigningKey> {
  return loadSigningKey(needKey(command, source, cwd), { env, passphrase: () => readPassphrase(env, source, signal) })
}

/** The public key of `--key`. */
export async function openPublicKey(
  command: string,
  source: string | undefined,
  { env, cwd }: { env: NodeJS.ProcessEnv; cwd: string },
): Promise<VerificationKey> {
  return loadVerificationKey(needKey(command, source, cwd), { env })
}

/** `COSIGN_PASSWORD`, else what is typed at a terminal; `undefined` without one. */
export async function readPassphrase(
  env: NodeJS.ProcessEnv,
  subject: string | undefined,
  signal: AbortSignal,
): Promise<string | undefined> {
  if (env['COSIGN_PASSWORD'] !== undefined) return env['COSIGN_PASSWORD']
  const { stdin } = process
  return stdin.isTTY ? askSecret(stdin, `passphrase of ${subject ?? 'the new key'}: `, signal) : undefined
}

/** The pairs of `--annotations`. Throws FAIRLEAD_CLI_USAGE. */
export function parseAnnotations(text: string | undefined): Readonly<Record<string, string>> {
  if (text === undefined) return {}
  const pairs = text.split(',').map((pair) => /^([^=]+)=(.*)$/.exec(pair))
  if (pairs.some((pair) => pair === null)) {
    throw usage(`Cannot use "--annotations ${text}": expected NAME=VALUE pairs`, 'Separate several by commas')
  }
  return Object.fromEntries(pairs.flatMap((pair) => (pair?.[1] ? [[pair[1], pair[2] ?? '']] : [])))
}

/** The predicate type of `--type`. Throws FAIRLEAD_CLI_USAGE. */
export function parseType(text: string | undefined): string | undefined {
  if (text === undefined) return undefined
  const type = toPredicateType(text)
  if (type !== undefined) return type
  const words = Object.keys(predicateNames).join(', ')
  throw usage(`Cannot use "--type ${text}": it is no type of statement`, `Choose one of ${words}, or a URI`)
}

/** Reads a policy from a JSON or YAML file; keys are looked for beside it. Throws FAIRLEAD_OCI_IMAGE_POLICY. */
export async function loadImagePolicy(file: string, env: NodeJS.ProcessEnv): Promise<ImagePolicy> {
  const text = await readFile(file, 'utf8').catch((error: NodeJS.ErrnoException) => {
    throw inputUnreadable(file, `the file cannot be read (${error.code})`, error)
  })
  let value: unknown
  try {
    value = parseYaml(text, file)
  } catch (error) {
    throw inputUnreadable(file, 'it is neither JSON nor YAML', error)
  }
  const loadKey = (source: string): Promise<VerificationKey> =>
    loadVerificationKey(toPath(source, dirname(resolve(file))), { env })
  return parseImagePolicy(value, { source: file, loadKey })
}

function needKey(command: string, source: string | undefined, cwd: string): string {
  if (source !== undefined) return toPath(source, cwd)
  throw usage(`Cannot run "fairlead ${command}": the option --key is missing`, 'fairlead image keygen makes keys')
}

function toPath(source: string, dir: string): string {
  return /^[a-z0-9]+:\/\//.test(source) || isAbsolute(source) ? source : resolve(dir, source)
}
