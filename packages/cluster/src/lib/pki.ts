import { createPrivateKey, randomBytes, X509Certificate } from 'node:crypto'
import type { webcrypto } from 'node:crypto'
import { readFileSync } from 'node:fs'
import { mkdir, rename, writeFile } from 'node:fs/promises'
import { join } from 'node:path'

/** PEM texts of one key pair and its certificate. */
export interface Credential {
  certificate: string
  key: string
}

/** The identity of one cluster: made once, kept in `<dir>/pki`, private parts readable by the owner only. */
export interface ClusterPki {
  /** Certificate of the cluster's own authority; clients verify the API server against it. */
  ca: string
  /** The authority with its key: it signs what is approved. */
  authority: Credential
  /** The API server's certificate, signed by the authority. */
  server: Credential
  /** Client certificate of the administrator (`CN=fairlead-admin`, `O=system:masters`). */
  admin: Credential
  /** What the API server proves itself with to servers behind it; of an authority that signs nothing else. */
  frontProxy: Credential & { ca: string }
}

const yearMs = 365 * 24 * 60 * 60 * 1000
const authorityYears = 10
const leafYears = 1
// A certificate that has less than this left is made anew at the next start.
const renewBeforeMs = 90 * 24 * 60 * 60 * 1000

/**
 * Loads the cluster's certificates, making what is missing, about to expire or not issued by the present authority.
 * `hosts` are further DNS names and IP addresses the server certificate must answer for.
 */
export async function loadPki(
  dir: string,
  hosts: readonly string[] = [],
  now: number = Date.now(),
): Promise<ClusterPki> {
  const folder = join(dir, 'pki')
  await mkdir(folder, { recursive: true, mode: 0o700 })
  const authority = await loadOr(
    folder,
    'ca',
    (found) => isFresh(found, now),
    () => createAuthority(now),
  )
  const names = [
    'localhost',
    'kubernetes',
    'kubernetes.default',
    'kubernetes.default.svc',
    'kubernetes.default.svc.cluster.local',
    '127.0.0.1',
    ...hosts,
  ]
  const server = await loadOr(
    folder,
    'apiserver',
    (found) => isFresh(found, now) && isIssuedBy(found, authority) && names.every((name) => answersFor(found, name)),
    () => createLeaf(authority, { subject: 'CN=kube-apiserver', usage: 'server', names, now }),
  )
  const admin = await loadOr(
    folder,
    'admin',
    (found) => isFresh(found, now) && isIssuedBy(found, authority),
    () => createLeaf(authority, { subject: 'CN=fairlead-admin, O=system:masters', usage: 'client', names: [], now }),
  )
  const proxyAuthority = await loadOr(
    folder,
    'front-proxy-ca',
    (found) => isFresh(found, now),
    () => createAuthority(now),
  )
  const frontProxy = await loadOr(
    folder,
    'front-proxy-client',
    (found) => isFresh(found, now) && isIssuedBy(found, proxyAuthority),
    () => createLeaf(proxyAuthority, { subject: 'CN=front-proxy-client', usage: 'client', names: [], now }),
  )
  const ca = authority.certificate
  return { ca, authority, server, admin, frontProxy: { ...frontProxy, ca: proxyAuthority.certificate } }
}

/**
 * A key in the form of SEC 1 (`EC PRIVATE KEY`), which names its algorithm in the first line: Java's fabric8 client tells keys
 * by that line, and takes one in PKCS #8 for RSA.
 */
export function toSec1(pem: string): string {
  return createPrivateKey(pem).export({ format: 'pem', type: 'sec1' }).toString()
}

/** Loads a secret token, making it (256 random bits, hexadecimal, 0600) when it does not exist yet. */
export async function loadToken(dir: string, name: string): Promise<string> {
  const file = join(dir, 'pki', `${name}.token`)
  const found = readOptional(file)
  if (found !== undefined && /^[0-9a-f]{64}$/.test(found)) return found
  const token = randomBytes(32).toString('hex')
  await writeWhole(file, token)
  return token
}

async function loadOr(
  folder: string,
  name: string,
  isUsable: (found: Credential) => boolean,
  create: () => Promise<Credential>,
): Promise<Credential> {
  const [certificateFile, keyFile] = [join(folder, `${name}.crt`), join(folder, `${name}.key`)]
  const [certificate, key] = [readOptional(certificateFile), readOptional(keyFile)]
  if (certificate !== undefined && key !== undefined && isPair(certificate, key) && isUsable({ certificate, key }))
    return { certificate, key }
  const created = await create()
  // The key goes first: a crash in between leaves a pair that does not match, which is made anew.
  await writeWhole(keyFile, created.key)
  await writeWhole(certificateFile, created.certificate)
  return created
}

function isPair(certificate: string, key: string): boolean {
  try {
    return new X509Certificate(certificate).checkPrivateKey(createPrivateKey(key))
  } catch {
    return false
  }
}

function isFresh({ certificate }: Credential, now: number): boolean {
  return new X509Certificate(certificate).validToDate.getTime() - now > renewBeforeMs
}

function isIssuedBy({ certificate }: Credential, authority: Credential): boolean {
  const issuer = new X509Certificate(authority.certificate)
  return new X509Certificate(certificate).verify(issuer.publicKey)
}

function answersFor({ certificate }: Credential, name: string): boolean {
  const parsed = new X509Certificate(certificate)
  return parsed.checkHost(name) !== undefined || parsed.checkIP(name) !== undefined
}

interface LeafOptions {
  subject: string
  usage: 'server' | 'client'
  names: readonly string[]
  now: number
}

async function createAuthority(now: number): Promise<Credential> {
  const x509 = await loadX509()
  const keys = await generateKeys()
  // Distinct per cluster, so that a client with the wrong certificate authority says so instead of failing on a signature.
  const name = `CN=fairlead-ca-${randomBytes(4).toString('hex')}`
  const certificate = await x509.X509CertificateGenerator.createSelfSigned({
    serialNumber: randomBytes(12).toString('hex'),
    name,
    notBefore: new Date(now - 60_000),
    notAfter: new Date(now + authorityYears * yearMs),
    signingAlgorithm,
    keys,
    extensions: [
      new x509.BasicConstraintsExtension(true, 0, true),
      new x509.KeyUsagesExtension(x509.KeyUsageFlags.keyCertSign | x509.KeyUsageFlags.cRLSign, true),
      await x509.SubjectKeyIdentifierExtension.create(keys.publicKey),
    ],
  })
  return { certificate: certificate.toString('pem'), key: await exportKey(keys.privateKey) }
}

async function createLeaf(authority: Credential, options: LeafOptions): Promise<Credential> {
  const x509 = await loadX509()
  const keys = await generateKeys()
  const issuer = new x509.X509Certificate(authority.certificate)
  const usage = options.usage === 'server' ? x509.ExtendedKeyUsage.serverAuth : x509.ExtendedKeyUsage.clientAuth
  const names = options.names.map((value) => ({
    type: /^[\d.]+$|:/.test(value) ? ('ip' as const) : ('dns' as const),
    value,
  }))
  const certificate = await x509.X509CertificateGenerator.create({
    serialNumber: randomBytes(12).toString('hex'),
    subject: options.subject,
    issuer: issuer.subject,
    notBefore: new Date(options.now - 60_000),
    notAfter: new Date(options.now + leafYears * yearMs),
    signingAlgorithm,
    publicKey: keys.publicKey,
    signingKey: await importKey(authority.key),
    extensions: [
      new x509.BasicConstraintsExtension(false, undefined, true),
      new x509.KeyUsagesExtension(x509.KeyUsageFlags.digitalSignature, true),
      new x509.ExtendedKeyUsageExtension([usage]),
      await x509.AuthorityKeyIdentifierExtension.create(issuer),
      ...(names.length > 0 ? [new x509.SubjectAlternativeNameExtension(names)] : []),
    ],
  })
  return { certificate: certificate.toString('pem'), key: await exportKey(keys.privateKey) }
}

const keyAlgorithm = { name: 'ECDSA', namedCurve: 'P-256' }
const signingAlgorithm = { name: 'ECDSA', hash: 'SHA-256' }

/** Loaded only when a certificate has to be made: the library costs more start-up time than the API server itself. It needs the polyfill. */
async function loadX509(): Promise<typeof import('@peculiar/x509')> {
  await import('reflect-metadata')
  const x509 = await import('@peculiar/x509')
  x509.cryptoProvider.set(crypto)
  return x509
}

async function generateKeys(): Promise<webcrypto.CryptoKeyPair> {
  return crypto.subtle.generateKey(keyAlgorithm, true, ['sign', 'verify'])
}

async function exportKey(key: webcrypto.CryptoKey): Promise<string> {
  const der = Buffer.from(await crypto.subtle.exportKey('pkcs8', key)).toString('base64')
  return `-----BEGIN PRIVATE KEY-----\n${der.match(/.{1,64}/g)?.join('\n')}\n-----END PRIVATE KEY-----\n`
}

async function importKey(pem: string): Promise<webcrypto.CryptoKey> {
  const der = Buffer.from(pem.replaceAll(/-----[^-]+-----|\s/g, ''), 'base64')
  return crypto.subtle.importKey('pkcs8', der, keyAlgorithm, false, ['sign'])
}

/**
 * The text of a small file; undefined when it is not there. Read at once: a start reads a dozen of them, and a turn of the event loop for
 * each takes longer than all the reading.
 */
export function readOptional(file: string): string | undefined {
  try {
    return readFileSync(file, 'utf8')
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return undefined
    throw error
  }
}

/** Writes a file that only its owner reads, whole or not at all. */
export async function writeWhole(file: string, content: string): Promise<void> {
  const temporary = `${file}.${process.pid}.tmp`
  await writeFile(temporary, content, { mode: 0o600 })
  await rename(temporary, file)
}
