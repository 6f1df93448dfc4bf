import { isIP } from 'node:net'
import { X509Certificate } from 'node:crypto'

import { forbidden } from '../status.ts'

type Headers = Readonly<Record<string, string | undefined>>

const remembered = 256

/** What Go programs say that open a WebSocket: their library must say something. Browsers add where a request is from. */
const programOrigin = 'http://localhost'

/**
 * Refuses what a web page in somebody's browser could send here: requests by a name that leads here but is not ours
 * (DNS rebinding), and requests another site makes, which a browser would send with the user's client certificate.
 * Programs give an address or a name of the certificate, and no Origin or their own.
 */
export class OriginCheck {
  readonly #certificate: X509Certificate
  readonly #names = new Set<string>()

  constructor(certificate: string) {
    this.#certificate = new X509Certificate(certificate)
  }

  /** Throws 403. */
  check(headers: Headers): void {
    const host = hostnameOf(headers['host'] ?? '')
    if (!this.#isOurs(host)) throw forbidden(`forbidden: host ${JSON.stringify(host)} is not a name of this server`)
    const { origin } = headers
    if ((origin === undefined || origin === programOrigin) && headers['sec-fetch-site'] === undefined) return
    const isCross = origin !== undefined && hostnameOf(origin.replace(/^[a-z+.-]+:\/\//i, '')) !== host
    if (isCross || headers['sec-fetch-site'] === 'cross-site') {
      throw forbidden('forbidden: requests of web pages of another origin are not served')
    }
  }

  #isOurs(host: string): boolean {
    if (host === '' || host === 'localhost' || isIP(host) !== 0 || this.#names.has(host)) return true
    if (this.#certificate.checkHost(host) === undefined) return false
    if (this.#names.size < remembered) this.#names.add(host)
    return true
  }
}

/** The name in `name:port` or `[address]:port`, in lower case. */
function hostnameOf(authority: string): string {
  const bracketed = /^\[([^\]]*)\]/.exec(authority)
  const name = bracketed === null ? authority.replace(/:\d*$/, '') : (bracketed[1] ?? '')
  return name.toLowerCase().replace(/\.$/, '')
}
