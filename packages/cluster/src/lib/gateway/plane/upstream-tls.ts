import { checkServerIdentity } from 'node:tls'
import type { ConnectionOptions, PeerCertificate } from 'node:tls'
import type { UpstreamTls } from '../model.ts'

/** What a connection with TLS to an endpoint is made with. */
export function tlsOptions(tls: UpstreamTls): ConnectionOptions & { servername: string } {
  const { serverName, ca, cert, clientKey } = tls
  return {
    servername: serverName,
    minVersion: 'TLSv1.2',
    rejectUnauthorized: tls.isVerified,
    checkServerIdentity: (_, shown) => refusalOf(tls, shown),
    ...(ca === undefined ? {} : { ca }),
    ...(cert === undefined ? {} : { cert, key: clientKey }),
  }
}

/** Why a certificate is not that of the endpoint. */
function refusalOf({ serverName, names, isVerified }: UpstreamTls, shown: PeerCertificate): Error | undefined {
  if (!isVerified) return undefined
  if (names.length === 0) return checkServerIdentity(serverName, shown)
  const uris = urisOf(shown)
  const isShown = names.some(({ kind, value }) =>
    kind === 'uri' ? uris.includes(value) : checkServerIdentity(value.replace('*', 'any'), shown) === undefined,
  )
  return isShown ? undefined : new Error(`the certificate is for ${shown.subjectaltname ?? 'no name'}`)
}

function urisOf({ subjectaltname = '' }: PeerCertificate): string[] {
  return subjectaltname.split(', ').flatMap((name) => (name.startsWith('URI:') ? [name.slice(4)] : []))
}
