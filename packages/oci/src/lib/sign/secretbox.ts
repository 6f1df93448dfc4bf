import { randomBytes, scrypt } from 'node:crypto'
import { promisify } from 'node:util'
import { xsalsa20poly1305 } from '@noble/ciphers/salsa.js'

/** What the text in an encrypted key file holds (go-securesystemslib, `encrypted`): NaCl secretbox under a key by scrypt. */
interface SealedText {
  kdf: { name: 'scrypt'; params: { N: number; r: number; p: number }; salt: string }
  cipher: { name: 'nacl/secretbox'; nonce: string }
  ciphertext: string
}

/** What cosign writes; files with other costs are read as long as they stay within bounds. */
const COSTS = { N: 65_536, r: 8, p: 1 }
const MAX_SCRYPT_BYTES = 512 << 20
const deriveKey = promisify<string, Uint8Array, number, object, Buffer>(scrypt)

/** Encrypts `content` with a passphrase. */
export async function sealText(content: Uint8Array, passphrase: string): Promise<string> {
  const salt = randomBytes(32)
  const nonce = randomBytes(24)
  const key = await derive(passphrase, salt, COSTS)
  const sealed: SealedText = {
    kdf: { name: 'scrypt', params: COSTS, salt: salt.toString('base64') },
    cipher: { name: 'nacl/secretbox', nonce: nonce.toString('base64') },
    ciphertext: Buffer.from(xsalsa20poly1305(key, nonce).encrypt(content)).toString('base64'),
  }
  return JSON.stringify(sealed)
}

/** Decrypts what {@link sealText} or cosign made; throws a plain Error that says what is wrong, never the content. */
export async function openText(text: string, passphrase: string): Promise<Buffer> {
  const { salt, nonce, ciphertext, params } = parseSealed(text)
  const key = await derive(passphrase, salt, params)
  try {
    return Buffer.from(xsalsa20poly1305(key, nonce).decrypt(ciphertext))
  } catch {
    throw new Error('the passphrase is wrong, or the file is damaged')
  }
}

function derive(passphrase: string, salt: Uint8Array, { N, r, p }: SealedText['kdf']['params']): Promise<Buffer> {
  return deriveKey(passphrase, salt, 32, { N, r, p, maxmem: MAX_SCRYPT_BYTES })
}

function parseSealed(text: string): {
  salt: Buffer
  nonce: Buffer
  ciphertext: Buffer
  params: SealedText['kdf']['params']
} {
  const sealed = parse(text)
  const { kdf, cipher } = sealed
  if (kdf?.name !== 'scrypt' || cipher?.name !== 'nacl/secretbox') {
    throw new Error('it is not encrypted by scrypt and nacl/secretbox')
  }
  const { N = 0, r = 0, p = 0 } = kdf.params ?? {}
  const isBounded = [N, r, p].every((cost) => Number.isSafeInteger(cost) && cost > 0) && p <= 16
  // A file that asks for more than this memory is an attack rather than a key.
  if (!isBounded || 128 * N * r >= MAX_SCRYPT_BYTES) throw new Error('the costs of its scrypt are out of bounds')
  const nonce = Buffer.from(String(cipher.nonce), 'base64')
  if (nonce.byteLength !== 24) throw new Error('its nonce is not 24 bytes long')
  return {
    salt: Buffer.from(String(kdf.salt), 'base64'),
    nonce,
    ciphertext: Buffer.from(String(sealed.ciphertext), 'base64'),
    params: { N, r, p },
  }
}

function parse(text: string): {
  kdf?: Partial<SealedText['kdf']>
  cipher?: Partial<SealedText['cipher']>
  ciphertext?: string
} {
  try {
    const value: unknown = JSON.parse(text)
    if (typeof value === 'object' && value !== null) return value
  } catch {
    // Said below.
  }
  throw new Error('its content is no JSON')
}
