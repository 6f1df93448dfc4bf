import { createSecureContext } from 'node:tls'
import type { Secret } from '@fairlead/kube/types/core-v1'

/** The key pair in a Secret (`kubernetes.io/tls`, or Istio's generic form with `cert` and `key`); undefined when there is none that fits together. */
export function keyPairOf(secret: Secret | undefined): { readonly cert: string; readonly key: string } | undefined {
  const cert = decode(secret?.data?.['tls.crt'] ?? secret?.data?.['cert'])
  const key = decode(secret?.data?.['tls.key'] ?? secret?.data?.['key'])
  if (cert === undefined || key === undefined) return undefined
  try {
    createSecureContext({ cert, key })
    return { cert, key }
  } catch {
    return undefined
  }
}

function decode(text: string | undefined): string | undefined {
  return text === undefined || text === '' ? undefined : Buffer.from(text, 'base64').toString()
}
