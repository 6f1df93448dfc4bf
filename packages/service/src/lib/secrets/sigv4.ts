import { createHash, createHmac } from 'node:crypto'

export interface AwsCredentials {
  readonly accessKeyId: string
  readonly secretAccessKey: string
  readonly sessionToken?: string | undefined
  /** Milliseconds since the epoch; undefined for keys that do not expire. */
  readonly expiresAt?: number | undefined
}

export interface SigningScope {
  readonly service: string
  readonly region: string
  /** Milliseconds since the epoch. */
  readonly now: number
}

/** The headers of a POST to the root of an AWS service, its signature (AWS Signature Version 4) included. */
export function signPost(
  url: URL,
  headers: Readonly<Record<string, string>>,
  body: string,
  credentials: AwsCredentials,
  scope: SigningScope,
): Record<string, string> {
  const time = new Date(scope.now).toISOString().replaceAll(/[-:]|\.\d+/g, '')
  const signed: Record<string, string> = {
    host: url.host,
    'x-amz-date': time,
    ...(credentials.sessionToken === undefined ? {} : { 'x-amz-security-token': credentials.sessionToken }),
    ...headers,
  }
  const names = Object.keys(signed).toSorted()
  const canonical = [
    'POST',
    url.pathname,
    '',
    ...names.map((name) => `${name}:${signed[name]?.trim().replaceAll(/ +/g, ' ')}`),
    '',
    names.join(';'),
    sha256(body),
  ].join('\n')
  const day = time.slice(0, 8)
  const range = `${day}/${scope.region}/${scope.service}/aws4_request`
  const toSign = ['AWS4-HMAC-SHA256', time, range, sha256(canonical)].join('\n')
  const key = [day, scope.region, scope.service, 'aws4_request'].reduce<string | Buffer>(
    hmac,
    `AWS4${credentials.secretAccessKey}`,
  )
  const signature = createHmac('sha256', key).update(toSign).digest('hex')
  return {
    ...signed,
    authorization: `AWS4-HMAC-SHA256 Credential=${credentials.accessKeyId}/${range}, SignedHeaders=${names.join(';')}, Signature=${signature}`,
  }
}

function sha256(text: string): string {
  return createHash('sha256').update(text).digest('hex')
}

function hmac(key: string | Buffer, text: string): Buffer {
  return createHmac('sha256', key).update(text).digest()
}
