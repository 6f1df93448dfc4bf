import { createInformer } from '@fairlead/kube/cache'
import { fromInformer, keyOf, renderTime, runController } from '@fairlead/kube/controller'
import type { CertificateSigningRequest } from '@fairlead/kube/types/certificates-v1'

import type { ControllerContext } from './context.ts'
import { patchStatus } from './write.ts'

/** Signs a request; rejects with the reason when it does not. PEM in, PEM out. */
export type SignCertificate = (order: {
  readonly signerName: string
  readonly request: string
  readonly usages: readonly string[]
  readonly expirationSeconds?: number | undefined
}) => Promise<string>

const ownSigners = new Set([
  'kubernetes.io/kube-apiserver-client',
  'kubernetes.io/kube-apiserver-client-kubelet',
  'kubernetes.io/kubelet-serving',
])

/** Signs what was approved, for the signers that are the cluster's own; others are somebody else's to sign. */
export function runCertificateSigning(context: ControllerContext, sign: SignCertificate): Promise<void> {
  const { client, signal, onError, clock } = context
  const requests = client.resource('certificates.k8s.io/v1/CertificateSigningRequest')
  const reportError = (error: unknown): void => onError(error, { controller: 'informer' })
  const informer = createInformer(requests, { signal, clock, onError: reportError })

  return runController({
    name: 'certificate-signing',
    sources: [fromInformer(informer, (request) => [keyOf(request)])],
    async reconcile(name) {
      const request = informer.get(undefined, name)
      if (request === undefined || !isToBeSigned(request)) return
      await patchStatus(requests, request, await outcomeOf(request, sign, clock.now()))
    },
    signal,
    onError,
  })
}

/** Approved, not yet answered, and one of ours. */
export function isToBeSigned({ spec, status }: CertificateSigningRequest): boolean {
  const types = status?.conditions?.map(({ type }) => type) ?? []
  if (!types.includes('Approved') || types.includes('Denied') || types.includes('Failed')) return false
  return (status?.certificate ?? '') === '' && ownSigners.has(spec.signerName)
}

async function outcomeOf(
  { spec, status }: CertificateSigningRequest,
  sign: SignCertificate,
  now: number,
): Promise<object> {
  const { signerName, usages = [], expirationSeconds } = spec
  const request = Buffer.from(spec.request, 'base64').toString('utf8')
  try {
    const certificate = await sign({ signerName, request, usages, expirationSeconds })
    return { certificate: Buffer.from(certificate).toString('base64') }
  } catch (error) {
    const message = error instanceof Error ? error.message : String(error)
    const time = renderTime(now)
    const failed = { type: 'Failed', status: 'True', reason: 'SignerValidationFailure', message }
    const condition = { ...failed, lastUpdateTime: time, lastTransitionTime: time }
    return { conditions: [...(status?.conditions ?? []), condition] }
  }
}
