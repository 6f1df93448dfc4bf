import { constants, createHash, createPrivateKey, createPublicKey, generateKeyPair, sign, verify } from 'node:crypto'
import type { KeyObject } from 'node:crypto'
import { readFile } from 'node:fs/promises'
import { promisify } from 'node:util'
import { ed25519ph } from '@noble/curves/ed25519.js'

import { keyUnusable } from '../errors.ts'
import { openText, sealText } from './secretbox.ts'

/** Kinds of keys: ECDSA on P-256 (the default everywhere), RSA with 3,072 bits, or Ed25519. */
export type KeyType = 'ecdsa' | 'rsa' | 'ed25519'

/** A private key that signs. It never shows itself. */
export interface SigningKey {
  readonly publicKey: VerificationKey
  sign(content: Uint8Array): Buffer
}

/** A public key that verifies. */
export interface VerificationKey {
  /** What messages call it: the file or the variable it came from. */
  readonly name: string
  /** Base64 of the SHA-256 of the key (SubjectPublicKeyInfo, DER): the hint in a sigstore bundle. */
  readonly hint: string
  /** PEM, `PUBLIC KEY`. */
  readonly pem: string
  verify(content: Uint8Array, signature: Uint8Array): boolean
}

/** Where keys come from. */
export interface KeyOptions {
  /** For `env://NAME`; default `process.env`. */
  env?: NodeJS.ProcessEnv | undefined
  /** Asked for the passphrase of an encrypted key, and only then; default: the variable `COSIGN_PASSWORD`. */
  passphrase?: (() => string | undefined | Promise<string | undefined>) | undefined
}

/** A pair of new keys as text. */
export interface GeneratedKeys {
  /** PEM: encrypted as cosign does when there is a passphrase (also an empty one), else PKCS #8. */
  privateKey: string
  /** PEM, `PUBLIC KEY`. */
  publicKey: string
}

const MAX_KEY_BYTES = 64 << 10
const SEALED_LABELS = ['ENCRYPTED SIGSTORE PRIVATE KEY', 'ENCRYPTED COSIGN PRIVATE KEY']
const generate = promisify(generateKeyPair) as (
  type: string,
  options?: object,
) => Promise<{ publicKey: KeyObject; privateKey: KeyObject }>

/**
 * Makes a pair of keys. With a passphrase the private one is written as `cosign generate-key-pair` writes it (scrypt
 * and NaCl secretbox), so cosign can use it too.
 */
export async function generateKeys(
  options: { type?: KeyType | undefined; passphrase?: string | undefined } = {},
): Promise<GeneratedKeys> {
  const { type = 'ecdsa', passphrase } = options
  const kinds = { ecdsa: ['ec', { namedCurve: 'P-256' }], rsa: ['rsa', { modulusLength: 3072 }], ed25519: ['ed25519'] }
  const [kind, parameters] = kinds[type] as [string, object?]
  const pair = await generate(kind, parameters)
  const publicKey = pair.publicKey.export({ type: 'spki', format: 'pem' }).toString()
  if (passphrase === undefined) {
    return { privateKey: pair.privateKey.export({ type: 'pkcs8', format: 'pem' }).toString(), publicKey }
  }
  const sealed = await sealText(pair.privateKey.export({ type: 'pkcs8', format: 'der' }), passphrase)
  return { privateKey: renderPem(SEALED_LABELS[0] ?? '', Buffer.from(sealed)), publicKey }
}

/**
 * Loads a private key from a file or, as `env://NAME`, from a variable: PEM with a PKCS #8, SEC 1 or PKCS #1 key, plain
 * or encrypted, or a `cosign.key`. Throws `FAIRLEAD_OCI_KEY`; no message holds any of its content.
 */
export async function loadSigningKey(source: string, options: KeyOptions = {}): Promise<SigningKey> {
  const text = await readSource(source, options)
  const key = await openPrivateKey(source, text, options)
  const publicKey = verificationKey(source, createPublicKey(key))
  const algorithm = algorithmOf(source, key)
  return { publicKey, sign: (content) => sign(algorithm, content, { key, ...PADDING }) }
}

/** Loads a public key from a file or, as `env://NAME`, from a variable: PEM. Throws `FAIRLEAD_OCI_KEY`. */
export async function loadVerificationKey(source: string, options: KeyOptions = {}): Promise<VerificationKey> {
  return parseVerificationKey(source, await readSource(source, options))
}

/** The public key in a PEM text; `name` is what messages call it. Throws `FAIRLEAD_OCI_KEY`. */
export function parseVerificationKey(name: string, pem: string): VerificationKey {
  // A private key would do for Node, but one that lies where public keys are expected is a mistake worth telling.
  if (/PRIVATE KEY-----/.test(pem)) throw keyUnusable(name, 'it is a private key', 'Name the public key, mostly *.pub')
  try {
    return verificationKey(name, createPublicKey(pem))
  } catch (error) {
    if (codeOf(error) === 'FAIRLEAD_OCI_KEY') throw error
    throw keyUnusable(name, 'it is no public key in PEM', 'Name a file that begins with -----BEGIN PUBLIC KEY-----')
  }
}

const PADDING = { padding: constants.RSA_PKCS1_PADDING }

function verificationKey(name: string, key: KeyObject): VerificationKey {
  const der = key.export({ type: 'spki', format: 'der' })
  const algorithm = algorithmOf(name, key)
  return {
    name,
    hint: createHash('sha256').update(der).digest('base64'),
    pem: key.export({ type: 'spki', format: 'pem' }).toString(),
    verify(content, signature) {
      const padding = key.asymmetricKeyType === 'rsa' ? PADDING : {}
      if (verify(algorithm, content, { key, ...padding }, signature)) return true
      return key.asymmetricKeyType === 'ed25519' && verifyPrehashed(key, content, signature)
    },
  }
}

/** Whether it is an Ed25519ph signature (RFC 8032, section 5.1), which cosign makes and `node:crypto` does not know. */
function verifyPrehashed(key: KeyObject, content: Uint8Array, signature: Uint8Array): boolean {
  const { x = '' } = key.export({ format: 'jwk' })
  try {
    return ed25519ph.verify(signature, content, Buffer.from(x, 'base64url'))
  } catch {
    return false
  }
}

/** The hash that goes with a key, as sigstore pairs them; Ed25519 hashes by itself. */
function algorithmOf(name: string, key: KeyObject): string | undefined {
  const { asymmetricKeyType: type, asymmetricKeyDetails: details } = key
  if (type === 'ed25519') return undefined
  if (type === 'rsa') {
    if ((details?.modulusLength ?? 0) >= 2048) return 'sha256'
    throw keyUnusable(name, `an RSA key of ${details?.modulusLength} bits is too short`, 'Use 2048 bits or more')
  }
  const curves: Record<string, string> = { prime256v1: 'sha256', secp384r1: 'sha384', secp521r1: 'sha512' }
  const hash = type === 'ec' ? curves[details?.namedCurve ?? ''] : undefined
  if (hash !== undefined) return hash
  throw keyUnusable(
    name,
    `keys of type "${details?.namedCurve ?? type}" are not supported`,
    'Use ECDSA, RSA or Ed25519',
  )
}

async function readSource(source: string, { env = process.env }: KeyOptions): Promise<string> {
  const variable = /^env:\/\/(.+)$/.exec(source)?.[1]
  if (variable !== undefined) {
    const text = env[variable]
    if (text) return text
    throw keyUnusable(source, 'the variable is not set', `Set ${variable} to the key in PEM`)
  }
  if (/^[a-z0-9]+:\/\//.test(source)) {
    throw keyUnusable(source, 'keys of this kind are not supported', 'Name a file, or a variable as env://NAME')
  }
  const bytes = await readFile(source).catch((error: NodeJS.ErrnoException) => {
    throw keyUnusable(source, `the file cannot be read (${error.code})`, 'Check the path of the key')
  })
  if (bytes.byteLength > MAX_KEY_BYTES) throw keyUnusable(source, 'the file is too large for a key', 'Check the path')
  return bytes.toString()
}

async function openPrivateKey(source: string, text: string, options: KeyOptions): Promise<KeyObject> {
  const hint = 'Name a private key in PEM: PKCS #8, or a cosign.key'
  const sealed = SEALED_LABELS.map((label) => parsePem(label, text)).find((content) => content !== undefined)
  const isEncrypted = sealed !== undefined || /ENCRYPTED/.test(text)
  const passphrase = isEncrypted ? await askPassphrase(source, options) : undefined
  let content: Buffer | undefined
  try {
    content = sealed && (await openText(sealed.toString(), passphrase ?? ''))
  } catch (error) {
    throw keyUnusable(source, (error as Error).message, 'Set COSIGN_PASSWORD to the passphrase of the key')
  }
  try {
    return content
      ? createPrivateKey({ key: content, format: 'der', type: 'pkcs8' })
      : createPrivateKey({ key: text, format: 'pem', ...(passphrase === undefined ? {} : { passphrase }) })
  } catch {
    // What OpenSSL says may quote the input.
    const state = isEncrypted ? 'the passphrase is wrong, or it is no private key' : 'it is no private key in PEM'
    throw keyUnusable(source, state, isEncrypted ? 'Set COSIGN_PASSWORD to the passphrase of the key' : hint)
  }
}

async function askPassphrase(source: string, { env = process.env, passphrase }: KeyOptions): Promise<string> {
  const answer = passphrase ? await passphrase() : env['COSIGN_PASSWORD']
  if (answer !== undefined) return answer
  throw keyUnusable(source, 'it is encrypted, and there is no passphrase', 'Set COSIGN_PASSWORD to its passphrase')
}

function parsePem(label: string, text: string): Buffer | undefined {
  const begin = `-----BEGIN ${label}-----`
  const start = text.indexOf(begin)
  const end = text.indexOf(`-----END ${label}-----`)
  return start === -1 || end < start ? undefined : Buffer.from(text.slice(start + begin.length, end), 'base64')
}

function renderPem(label: string, content: Buffer): string {
  const lines = content.toString('base64').match(/.{1,64}/g) ?? []
  return [`-----BEGIN ${label}-----`, ...lines, `-----END ${label}-----`, ''].join('\n')
}

function codeOf(error: unknown): unknown {
  return (error as { code?: unknown } | undefined)?.code
}
