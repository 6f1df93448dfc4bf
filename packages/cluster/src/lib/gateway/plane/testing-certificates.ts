import { randomBytes, webcrypto } from 'node:crypto'

/** Makes certificates for tests; its own says whom they trust. */
export interface TestAuthority {
  /** PEM. */
  readonly cert: string
  issue(names: readonly string[]): Promise<{ readonly cert: string; readonly key: string }>
}

const algorithm = { name: 'ECDSA', namedCurve: 'P-256', hash: 'SHA-256' }

export async function createTestAuthority(): Promise<TestAuthority> {
  await import('reflect-metadata')
  const x509 = await import('@peculiar/x509')
  x509.cryptoProvider.set(webcrypto)
  const [notBefore, notAfter] = [new Date(Date.now() - 60_000), new Date(Date.now() + 86_400_000)]
  const common = { notBefore, notAfter, signingAlgorithm: algorithm }
  const generate = (): Promise<webcrypto.CryptoKeyPair> =>
    webcrypto.subtle.generateKey(algorithm, true, ['sign', 'verify'])
  const serial = (): string => `00${randomBytes(8).toString('hex')}`
  const keys = await generate()
  const own = await x509.X509CertificateGenerator.createSelfSigned({
    ...common,
    serialNumber: serial(),
    name: `CN=test-${randomBytes(4).toString('hex')}`,
    keys,
    extensions: [new x509.BasicConstraintsExtension(true, 0, true)],
  })
  return {
    cert: own.toString('pem'),
    async issue(names) {
      const leaf = await generate()
      const typed = names.map((value) => ({ type: value.includes('://') ? ('url' as const) : ('dns' as const), value }))
      const made = await x509.X509CertificateGenerator.create({
        ...common,
        serialNumber: serial(),
        subject: `CN=${randomBytes(4).toString('hex')}`,
        issuer: own.subject,
        publicKey: leaf.publicKey,
        signingKey: keys.privateKey,
        extensions: [new x509.SubjectAlternativeNameExtension(typed)],
      })
      const der = Buffer.from(await webcrypto.subtle.exportKey('pkcs8', leaf.privateKey)).toString('base64')
      const key = `-----BEGIN PRIVATE KEY-----\n${der.match(/.{1,64}/g)?.join('\n')}\n-----END PRIVATE KEY-----\n`
      return { cert: made.toString('pem'), key }
    },
  }
}
