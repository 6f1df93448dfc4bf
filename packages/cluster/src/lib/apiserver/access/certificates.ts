import type { CertificateSigningRequest } from '@fairlead/kube/types/certificates-v1'
import type { KubeObject } from '@fairlead/kube/types'

import { forbiddenObject } from '../status.ts'
import type { Authorizer } from './authorizer.ts'
import type { Write } from './node/node-restriction.ts'

type Request = KubeObject & CertificateSigningRequest

/** Writes who asks into a request for a certificate, and sees to it that only those who may approve and sign do. */
export function admitCertificate(authorizer: Authorizer, write: Write): void {
  const object = write.object as Request
  const old = write.old as Request | undefined
  if (write.operation === 'create') {
    const { user, groups, uid, extra } = write.identity
    const asker = { username: user, groups: [...groups], uid, extra } as Partial<Request['spec']>
    object.spec = { ...object.spec, ...dropUndefined(asker) }
    refuseMasters(write, object)
  }
  if (write.subresource === 'approval' || hasNewCertificate(write.subresource, object, old)) {
    const verb = write.subresource === 'approval' ? 'approve' : 'sign'
    if (!mayUseSigner(authorizer, write, verb, object.spec.signerName)) {
      const what = verb === 'approve' ? 'approve requests with signerName' : 'sign requests with signerName'
      throw forbiddenObject(
        write.resource.info,
        write.name,
        `user not permitted to ${what} ${JSON.stringify(object.spec.signerName)}`,
      )
    }
  }
}

function hasNewCertificate(subresource: string, object: Request, old: Request | undefined): boolean {
  return subresource === 'status' && object.status?.certificate !== old?.status?.certificate
}

/** By the signer's name, or for all signers of its domain. */
function mayUseSigner(authorizer: Authorizer, { identity }: Write, verb: string, signerName: string): boolean {
  const [domain = ''] = signerName.split('/')
  const asked = { verb, group: 'certificates.k8s.io', resource: 'signers', subresource: '', namespace: '' }
  return [signerName, `${domain}/*`].some((name) => authorizer.decide(identity, { ...asked, name }).allowed)
}

/** A certificate of that group could never be taken back (CertificateSubjectRestriction). */
function refuseMasters(write: Write, { spec }: Request): void {
  if (spec.signerName !== 'kubernetes.io/kube-apiserver-client') return
  if (!organizationsOf(spec.request).includes('system:masters')) return
  const why = 'use of kubernetes.io/kube-apiserver-client signer with system:masters group is not allowed'
  throw forbiddenObject(write.resource.info, write.name, why)
}

const organizationOid = Buffer.from([0x06, 0x03, 0x55, 0x04, 0x0a])

/** The values of `O` in a PKCS #10 request, found by their object identifier (RFC 2986, X.690). */
function organizationsOf(request: string): string[] {
  const pem = Buffer.from(request ?? '', 'base64').toString('latin1')
  const der = Buffer.from(pem.replaceAll(/-----[^-]+-----|\s/g, ''), 'base64')
  const found: string[] = []
  for (let at = der.indexOf(organizationOid); at >= 0; at = der.indexOf(organizationOid, at + 1)) {
    const start = at + organizationOid.length + 2
    found.push(der.subarray(start, start + (der[start - 1] ?? 0)).toString('utf8'))
  }
  return found
}

function dropUndefined<T extends object>(value: T): T {
  return Object.fromEntries(Object.entries(value).filter(([, field]) => field !== undefined)) as T
}
