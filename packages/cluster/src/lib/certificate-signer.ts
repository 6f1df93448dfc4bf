import { randomBytes } from 'node:crypto'
import type { webcrypto } from 'node:crypto'
import type { Extension } from '@peculiar/x509'

import type { Credential } from './pki.ts'

/** What a signed request is to become. */
export interface SigningOrder {
  readonly signerName: string
  /** PEM of a PKCS #10 request. */
  readonly request: string
  /** `client auth`, `digital signature` and the like. */
  readonly usages: readonly string[]
  readonly expirationSeconds?: number | undefined
}

/** Signs a request for a certificate; rejects with the reason when this signer does not give such certificates. */
export type CertificateSigner = (order: SigningOrder) => Promise<string>

const yearSeconds = 365 * 24 * 60 * 60
const subjectAlternativeName = '2.5.29.17'

/** The signers of Kubernetes (`kubernetes.io/...`), with the cluster's own authority. */
export function createCertificateSigner(authority: Credential): CertificateSigner {
  return async (order) => {
    await import('reflect-metadata')
    const x509 = await import('@peculiar/x509')
    x509.cryptoProvider.set(crypto)
    const request = new x509.Pkcs10CertificateRequest(order.request)
    if (!(await request.verify())) throw new TypeError('the signature of the request is not by the key in it')
    const names = request.getExtension(subjectAlternativeName)
    const refusal = refuse(order, {
      commonName: request.subjectName.getField('CN')[0] ?? '',
      organizations: request.subjectName.getField('O'),
      hasNames: names !== null && names !== undefined,
    })
    if (refusal !== undefined) throw new TypeError(refusal)
    const issuer = new x509.X509Certificate(authority.certificate)
    const now = Date.now()
    const lifetimeMs = (order.expirationSeconds ?? yearSeconds) * 1000
    const certificate = await x509.X509CertificateGenerator.create({
      serialNumber: randomBytes(12).toString('hex'),
      subject: request.subject,
      issuer: issuer.subject,
      notBefore: new Date(now - 5 * 60_000),
      notAfter: new Date(Math.min(now + lifetimeMs, issuer.notAfter.getTime())),
      signingAlgorithm: { name: 'ECDSA', hash: 'SHA-256' },
      publicKey: request.publicKey,
      signingKey: await importKey(authority.key),
      extensions: [
        new x509.BasicConstraintsExtension(false, undefined, true),
        ...keyUsages(order.usages, x509),
        new x509.ExtendedKeyUsageExtension(extendedUsages(order.usages, x509.ExtendedKeyUsage)),
        await x509.AuthorityKeyIdentifierExtension.create(issuer),
        ...(names === null || names === undefined ? [] : [names]),
      ],
    })
    return `${certificate.toString('pem').trim()}\n`
  }
}

interface Subject {
  readonly commonName: string
  readonly organizations: readonly string[]
  readonly hasNames: boolean
}

/** Why a signer does not give such a certificate (Kubernetes, "Certificate Signing Requests: signers"). */
export function refuse({ signerName, usages }: SigningOrder, subject: Subject): string | undefined {
  const unknown = usages.find((usage) => !allowedUsages.get(signerName)?.includes(usage))
  if (!allowedUsages.has(signerName)) return `unknown signer "${signerName}"`
  if (unknown !== undefined) return `usage "${unknown}" is not given by the signer`
  if (signerName === 'kubernetes.io/kube-apiserver-client') {
    return usages.includes('client auth') ? undefined : 'usages must contain "client auth"'
  }
  const isNode = subject.organizations.length === 1 && subject.organizations[0] === 'system:nodes'
  if (!isNode) return 'subject organization is not system:nodes'
  if (!subject.commonName.startsWith('system:node:')) return 'subject common name does not begin with system:node:'
  if (signerName === 'kubernetes.io/kube-apiserver-client-kubelet') {
    if (subject.hasNames) return 'DNS, IP, email and URI subjectAltNames are not allowed'
    return usages.includes('client auth') ? undefined : 'usages did not match'
  }
  if (!subject.hasNames) return 'DNS or IP subjectAltName is required'
  return usages.includes('server auth') ? undefined : 'usages did not match'
}

const common = ['digital signature', 'key encipherment']
const allowedUsages: ReadonlyMap<string, readonly string[]> = new Map([
  ['kubernetes.io/kube-apiserver-client', [...common, 'client auth']],
  ['kubernetes.io/kube-apiserver-client-kubelet', [...common, 'client auth']],
  ['kubernetes.io/kubelet-serving', [...common, 'server auth']],
])

/** None for neither: an extension that allows nothing would forbid everything. */
function keyUsages(usages: readonly string[], x509: typeof import('@peculiar/x509')): Extension[] {
  const { KeyUsagesExtension, KeyUsageFlags } = x509
  const isSigning = usages.includes('digital signature')
  const isEnciphering = usages.includes('key encipherment')
  if (isSigning && isEnciphering) {
    return [new KeyUsagesExtension(KeyUsageFlags.digitalSignature | KeyUsageFlags.keyEncipherment, true)]
  }
  if (isSigning) return [new KeyUsagesExtension(KeyUsageFlags.digitalSignature, true)]
  return isEnciphering ? [new KeyUsagesExtension(KeyUsageFlags.keyEncipherment, true)] : []
}

function extendedUsages(usages: readonly string[], known: { clientAuth: string; serverAuth: string }): string[] {
  const client = usages.includes('client auth') ? [known.clientAuth] : []
  return usages.includes('server auth') ? [...client, known.serverAuth] : client
}

async function importKey(pem: string): Promise<webcrypto.CryptoKey> {
  const der = Buffer.from(pem.replaceAll(/-----[^-]+-----|\s/g, ''), 'base64')
  return await crypto.subtle.importKey('pkcs8', der, { name: 'ECDSA', namedCurve: 'P-256' }, false, ['sign'])
}
