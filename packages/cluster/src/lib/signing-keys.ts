import { createPrivateKey, createPublicKey, generateKeyPairSync } from 'node:crypto'
import type { KeyObject } from 'node:crypto'
import { mkdir } from 'node:fs/promises'
import { join } from 'node:path'

import { readOptional, writeWhole } from './pki.ts'

/** What signs the tokens of service accounts, and what verifies those signed before. */
export interface SigningKeys {
  /** PEM, PKCS #8, P-256. */
  readonly current: string
  /** PEM of the public parts of earlier keys, the latest first. */
  readonly earlier: readonly string[]
}

const maxEarlier = 16
const block = /-----BEGIN PUBLIC KEY-----[^-]+-----END PUBLIC KEY-----/g

/** Loads the keys for tokens of service accounts; the one that signs is made when it does not exist yet. */
export async function loadSigningKeys(dir: string): Promise<SigningKeys> {
  const { currentFile, earlierFile } = filesOf(dir)
  const found = readOptional(currentFile)
  const earlier = earlierIn(readOptional(earlierFile))
  if (found !== undefined && isP256(parsed(createPrivateKey, found))) return { current: found, earlier }
  return { current: await makeKey(dir), earlier }
}

/**
 * Makes another key for tokens of service accounts, which signs when the cluster starts next. Tokens that are signed
 * already stay good: the public part of the key that signed them is kept, of the last {@link maxEarlier} keys.
 */
export async function rotateSigningKey(dir: string): Promise<SigningKeys> {
  const { current, earlier } = await loadSigningKeys(dir)
  const before = createPublicKey(current).export({ format: 'pem', type: 'spki' }).toString().trim()
  // The old one first: a crash in between leaves one key in both files, and no token without its key.
  const kept = [before, ...earlier.filter((each) => each !== before)].slice(0, maxEarlier)
  await writeWhole(filesOf(dir).earlierFile, `${kept.join('\n')}\n`)
  return { current: await makeKey(dir), earlier: kept }
}

function filesOf(dir: string): { currentFile: string; earlierFile: string } {
  const folder = join(dir, 'pki')
  return { currentFile: join(folder, 'service-account.key'), earlierFile: join(folder, 'service-account-earlier.pem') }
}

async function makeKey(dir: string): Promise<string> {
  await mkdir(join(dir, 'pki'), { recursive: true, mode: 0o700 })
  const { privateKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' })
  const pem = privateKey.export({ format: 'pem', type: 'pkcs8' }).toString()
  await writeWhole(filesOf(dir).currentFile, pem)
  return pem
}

/** What is damaged verifies nothing, and is left out. */
function earlierIn(text = ''): string[] {
  return (text.match(block) ?? []).filter((pem) => isP256(parsed(createPublicKey, pem)))
}

function parsed(parse: (pem: string) => KeyObject, pem: string): KeyObject | undefined {
  try {
    return parse(pem)
  } catch {
    return undefined
  }
}

function isP256(key: KeyObject | undefined): boolean {
  return key?.asymmetricKeyDetails?.namedCurve === 'prime256v1'
}
