import { createPublicKey, verify, constants } from 'node:crypto'

const integerTag = 0x02
const bitStringTag = 0x03
const objectIdTag = 0x06
const sequenceTag = 0x30

/** What node:crypto calls the digest of a signature algorithm; `undefined` where the key itself says (Ed25519). */
const digests: ReadonlyMap<string, string | undefined> = new Map([
  ['1.2.840.113549.1.1.5', 'sha1'],
  ['1.2.840.113549.1.1.11', 'sha256'],
  ['1.2.840.113549.1.1.12', 'sha384'],
  ['1.2.840.113549.1.1.13', 'sha512'],
  ['1.2.840.10045.4.1', 'sha1'],
  ['1.2.840.10045.4.3.2', 'sha256'],
  ['1.2.840.10045.4.3.3', 'sha384'],
  ['1.2.840.10045.4.3.4', 'sha512'],
  ['1.3.101.112', undefined],
])
const md5WithRsa = '1.2.840.113549.1.1.4'
const rsaPss = '1.2.840.113549.1.1.10'

/**
 * What is wrong with a request for a certificate, in the words of Go: `request` is the base64 of PEM (RFC 7468) around PKCS #10
 * (RFC 2986), signed by the key in it.
 */
export function faultOfRequest(request: string): string | undefined {
  const pem = Buffer.from(request, 'base64').toString('latin1')
  const [, label, body = ''] = /-----BEGIN ([^-\n]*)-----([\s\S]+?)-----END \1-----/.exec(pem) ?? []
  if (label !== 'CERTIFICATE REQUEST') return 'PEM block type must be CERTIFICATE REQUEST'
  const parts = readRequest(Buffer.from(body, 'base64'))
  return typeof parts === 'string' ? parts : faultOfSignature(parts)
}

interface Signed {
  /** `CertificationRequestInfo`, as it was signed. */
  readonly info: Buffer
  readonly key: Buffer
  readonly algorithm: string
  readonly parameters: Buffer
  readonly signature: Buffer
}

function readRequest(der: Buffer): Signed | string {
  const outer = readElement(der, 0)
  if (outer?.tag !== sequenceTag) return 'asn1: structure error: the request is no sequence'
  if (outer.end < der.length) return 'asn1: syntax error: trailing data'
  const [info, algorithm, signature] = readElements(outer.content)
  const [version, , key] = info === undefined ? [] : readElements(info.content)
  const [oid, parameters] = algorithm === undefined ? [] : readElements(algorithm.content)
  const isWhole = version?.tag === integerTag && key?.tag === sequenceTag
  if (info === undefined || !isWhole || oid?.tag !== objectIdTag || signature?.tag !== bitStringTag) {
    return 'asn1: structure error: the request is incomplete'
  }
  return {
    info: info.whole,
    key: key.whole,
    algorithm: readObjectId(oid.content),
    parameters: parameters?.whole ?? Buffer.alloc(0),
    // The first byte tells how many bits of the last one are unused: none.
    signature: signature.content.subarray(1),
  }
}

function faultOfSignature({ info, key, algorithm, parameters, signature }: Signed): string | undefined {
  if (algorithm === md5WithRsa) return 'x509: cannot verify signature: insecure algorithm MD5-RSA'
  const isPss = algorithm === rsaPss
  const digest = isPss ? digestOfPss(parameters) : digests.get(algorithm)
  if (!digests.has(algorithm) && digest === undefined) return 'x509: cannot verify signature: algorithm unimplemented'
  try {
    const publicKey = createPublicKey({ key, format: 'der', type: 'spki' })
    const padding = isPss ? { padding: constants.RSA_PKCS1_PSS_PADDING } : {}
    if (verify(digest, info, { key: publicKey, ...padding }, signature)) return undefined
    return wrong.get(publicKey.asymmetricKeyType ?? '') ?? 'x509: cannot verify signature'
  } catch {
    return 'x509: the public key of the request cannot be read, or does not fit its signature'
  }
}

const wrong: ReadonlyMap<string, string> = new Map([
  ['rsa', 'crypto/rsa: verification error'],
  ['ec', 'x509: ECDSA verification failure'],
  ['ed25519', 'x509: Ed25519 verification failure'],
])

/** The last arc of SHA-256, -384 and -512 in `id-sha` (2.16.840.1.101.3.4.2), which the parameters of RSASSA-PSS begin with. */
function digestOfPss(parameters: Buffer): string | undefined {
  const prefix = Buffer.from([0x60, 0x86, 0x48, 0x01, 0x65, 0x03, 0x04, 0x02])
  const at = parameters.indexOf(prefix)
  return at < 0 ? undefined : [undefined, 'sha256', 'sha384', 'sha512'][parameters[at + prefix.length] ?? 0]
}

interface Element {
  readonly tag: number
  readonly content: Buffer
  /** With its tag and length. */
  readonly whole: Buffer
  /** Where the next one begins. */
  readonly end: number
}

/** One element of DER (X.690, 8.1); `undefined` where the bytes are none. */
function readElement(der: Buffer, start: number): Element | undefined {
  const tag = der[start]
  const first = der[start + 1]
  if (tag === undefined || first === undefined) return undefined
  const more = first < 0x80 ? 0 : first - 0x80
  if (more > 4 || start + 2 + more > der.length) return undefined
  const length = more === 0 ? first & 0x7f : der.readUIntBE(start + 2, more)
  const at = start + 2 + more
  const end = at + length
  return end > der.length ? undefined : { tag, content: der.subarray(at, end), whole: der.subarray(start, end), end }
}

function readElements(der: Buffer): Element[] {
  const found: Element[] = []
  for (let at = 0; at < der.length;) {
    const element = readElement(der, at)
    if (element === undefined) return []
    found.push(element)
    at = element.end
  }
  return found
}

/** `1.2.840.10045.4.3.2` (X.690, 8.19). */
function readObjectId(content: Buffer): string {
  const arcs: number[] = []
  let arc = 0
  for (const byte of content) {
    arc = arc * 128 + (byte & 0x7f)
    if (byte >= 0x80) continue
    arcs.push(
      ...(arcs.length === 0
        ? [Math.min(Math.floor(arc / 40), 2), arc - 40 * Math.min(Math.floor(arc / 40), 2)]
        : [arc]),
    )
    arc = 0
  }
  return arcs.join('.')
}
