import { logOptionInvalid } from './errors.ts'

export interface RedactOptions {
  /**
   * What else is a secret. A word is the name of a field at any depth (`ssn`); a path begins at the fields of the line
   * (`user.email`, `headers.x-key`, `*.pin`, `users[*].phone`, `**.iban`): `*` is one segment, `**` any number.
   */
  readonly paths?: readonly string[] | undefined
  /** Names that are well-known secrets elsewhere and none here, such as `pageToken`. */
  readonly keep?: readonly string[] | undefined
}

/** What stands in place of a secret. */
export const redacted = '[redacted]'

/** Compared in lower case, without `-` and `_`. */
const secretNames = new Set([
  'authorization',
  'proxyauthorization',
  'cookie',
  'setcookie',
  'pwd',
  'pass',
  'credentials',
  'creditcard',
  'cardnumber',
  'cvv',
  'cvc',
  'ssn',
  'xamzsecuritytoken',
  'privatekey',
  'signature',
])
const secretEndings = ['password', 'passwd', 'passphrase', 'secret', 'token', 'apikey', 'accesskey', 'secretkey']

export interface Redaction {
  /** Whether a field of this name is a secret wherever it stands. */
  isSecretName(name: string): boolean
  /** Whether paths are to be looked at at all. */
  readonly hasPaths: boolean
  isSecretPath(path: readonly string[]): boolean
}

/** @throws {ServiceError} `FAIRLEAD_SERVICE_LOG` for a path that cannot match anything. */
export function createRedaction(options: RedactOptions = {}): Redaction {
  const kept = new Set((options.keep ?? []).map(normal))
  const names = new Set(secretNames)
  const paths: string[][] = []
  for (const text of options.paths ?? []) {
    const segments = parsePath(text)
    const [only] = segments
    if (segments.length === 1 && only !== undefined && !only.includes('*')) names.add(normal(only))
    else paths.push(segments)
  }
  return {
    hasPaths: paths.length > 0,
    isSecretName(name) {
      const word = normal(name)
      if (kept.has(word)) return false
      return names.has(word) || secretEndings.some((ending) => word.endsWith(ending))
    },
    isSecretPath: (path) => paths.some((pattern) => matches(pattern, 0, path, 0)),
  }
}

/**
 * Takes the password out of URLs, and tokens out of their queries. Every quantifier is bounded: the text may be
 * anything a caller sent.
 */
export function redactUrls(text: string): string {
  if (!text.includes('://')) return text
  // Stacks are full of file URLs: looking for one character first saves both searches.
  const named = text.includes('@') ? text.replaceAll(userInfo, `$1${redacted}@`) : text
  return named.includes('=') ? named.replaceAll(queryToken, `$1${redacted}`) : named
}

const userInfo = /(:\/\/[^\s/:@]{0,256}:)[^\s/]{1,1024}@/g
const queryToken =
  /([?&](?:access_token|id_token|refresh_token|token|api_?key|password|secret|sig|signature|x-amz-signature|x-amz-security-token|x-goog-signature)=)[^&#\s"']{1,4096}/gi

/** `a.b`, `a[*].b`, `a["x.y"]`. */
function parsePath(text: string): string[] {
  const segments: string[] = []
  const part = /\.?([^.[\]]+)|\[(?:"([^"]*)"|'([^']*)'|([^\]'"]+))\]/gy
  while (part.lastIndex < text.length) {
    const match = part.exec(text)
    const segment = match?.[1] ?? match?.[2] ?? match?.[3] ?? match?.[4]
    if (segment === undefined) throw logOptionInvalid('redact.paths', text, 'a path like user.email or users[*].phone')
    segments.push(segment)
  }
  if (segments.length === 0) throw logOptionInvalid('redact.paths', text, 'a name or a path')
  return segments
}

function matches(pattern: readonly string[], from: number, path: readonly string[], at: number): boolean {
  const segment = pattern[from]
  if (segment === undefined) return at === path.length
  if (segment === '**') {
    for (let next = at; next <= path.length; next++) if (matches(pattern, from + 1, path, next)) return true
    return false
  }
  const name = path[at]
  if (name === undefined) return false
  if (segment !== '*' && segment.toLowerCase() !== name.toLowerCase()) return false
  return matches(pattern, from + 1, path, at + 1)
}

function normal(name: string): string {
  return name.replaceAll(/[-_\s]/g, '').toLowerCase()
}
