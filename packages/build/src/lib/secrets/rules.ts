/** A kind of credential. */
export interface SecretRule {
  id: string
  /** What it is, for people. */
  title: string
  /** Text every match holds: looked for first, because that is fast. */
  marks: readonly string[]
  /** Sticky search is not used: a window around each mark is searched. The group `secret` is what must not be shown. */
  pattern: RegExp
  /** Whether the match is one; for forms that also occur without a secret in them. */
  isSecret?: ((match: RegExpExecArray) => boolean) | undefined
}

/** Changes whenever the same bytes could give other findings. */
export const RULES_VERSION = '1'

/** A token stands alone: inside of longer runs of such characters (base64 data, hashes) the same letters mean nothing. */
const START = '(?<![A-Za-z0-9+/_-])'
const END = '(?![A-Za-z0-9+/_=-])'

function token(id: string, title: string, marks: readonly string[], body: string): SecretRule {
  return { id, title, marks, pattern: new RegExp(`${START}(?<secret>${body})${END}`, 'g'), isSecret: isRandom }
}

/** Formats that are credentials and nothing else. Values that documentation uses are left out by {@link isPlaceholder}. */
export const RULES: readonly SecretRule[] = [
  {
    id: 'private-key',
    title: 'private key',
    marks: ['PRIVATE KEY'],
    // The header alone is in every library that reads keys; a key has a body, in source text also with \n written out.
    pattern:
      /-----BEGIN (?:[A-Z0-9]+ ){0,3}PRIVATE KEY(?: BLOCK)?-----(?:\\r|\\n|[\s"'+,`])*(?:(?:Proc-Type|DEK-Info|Version|Comment): ?[^\n\\]*(?:\\r|\\n|\s)+){0,4}(?<secret>[A-Za-z0-9+/=]{40,})/g,
  },
  token('aws-access-key', 'AWS access key', ['AKIA', 'ASIA'], '(?:AKIA|ASIA)[A-Z2-7]{16}'),
  {
    id: 'aws-secret-key',
    title: 'AWS secret access key',
    marks: ['ecret'],
    pattern: /aws.{0,20}?secret.{0,20}?[:=]\s{0,3}["'`]?(?<secret>[A-Za-z0-9/+]{40})(?![A-Za-z0-9/+=])/gi,
    isSecret: isRandom,
  },
  token('github-token', 'GitHub token', ['ghp_', 'gho_', 'ghu_', 'ghs_', 'ghr_'], 'gh[pousr]_[A-Za-z0-9]{36,255}'),
  token('github-token', 'GitHub token', ['github_pat_'], 'github_pat_[A-Za-z0-9_]{60,255}'),
  token('gitlab-token', 'GitLab token', ['glpat-', 'gldt-', 'glrt-'], 'gl(?:pat|dt|rt)-[A-Za-z0-9_-]{20,255}'),
  token('slack-token', 'Slack token', ['xox'], 'xox[abeoprs]-[A-Za-z0-9-]{20,255}'),
  {
    id: 'slack-webhook',
    title: 'Slack webhook',
    marks: ['hooks.slack.com/'],
    pattern:
      /hooks\.slack\.com\/(?:services|workflows)\/(?<secret>T[A-Za-z0-9_]{6,}\/[A-Za-z0-9_]{6,}\/[A-Za-z0-9_]{16,})/g,
    isSecret: isRandom,
  },
  token('stripe-key', 'Stripe live key', ['k_live_', 'whsec_'], '(?:[rs]k_live_|whsec_)[A-Za-z0-9+/=]{24,255}'),
  token('google-api-key', 'Google API key', ['AIza'], 'AIza[A-Za-z0-9_-]{35}'),
  token('google-oauth-secret', 'Google OAuth client secret', ['GOCSPX-'], 'GOCSPX-[A-Za-z0-9_-]{28}'),
  token('npm-token', 'npm token', ['npm_'], 'npm_[A-Za-z0-9]{36}'),
  {
    id: 'npmrc-token',
    title: 'credential of an .npmrc',
    marks: [':_auth', ':_password', '_authToken'],
    pattern: /(?:_authToken|:_auth|:_password)\s{0,3}=\s{0,3}(?<secret>(?!\$\{)[^\s"'`]{8,})/g,
  },
  token('openai-key', 'API key of OpenAI or Anthropic', ['sk-'], 'sk-(?:proj-|ant-|svcacct-)?[A-Za-z0-9_-]{40,255}'),
  token('sendgrid-key', 'SendGrid API key', ['SG.'], 'SG\\.[A-Za-z0-9_-]{22}\\.[A-Za-z0-9_-]{43}'),
  token('docker-token', 'Docker Hub token', ['dckr_pat_'], 'dckr_pat_[A-Za-z0-9_-]{27,}'),
  token('digitalocean-token', 'DigitalOcean token', ['_v1_'], 'do[opr]_v1_[a-f0-9]{64}'),
  token('vault-token', 'Vault token', ['hvs.', 'hvb.'], 'hv[sb]\\.[A-Za-z0-9_-]{24,255}'),
  token('age-key', 'age secret key', ['AGE-SECRET-KEY-1'], 'AGE-SECRET-KEY-1[A-Z0-9]{58}'),
  {
    id: 'azure-storage-key',
    title: 'Azure storage key',
    marks: ['AccountKey='],
    pattern: /AccountKey=(?<secret>[A-Za-z0-9+/]{86}==)/g,
    isSecret: isRandom,
  },
  {
    id: 'jwt',
    title: 'JSON Web Token',
    marks: ['eyJ'],
    pattern: new RegExp(
      `${START}(?<secret>eyJ[A-Za-z0-9_-]{10,}\\.eyJ[A-Za-z0-9_-]{10,}\\.[A-Za-z0-9_-]{20,})${END}`,
      'g',
    ),
    isSecret: isSignedToken,
  },
  {
    id: 'connection-string',
    title: 'password in a URL',
    marks: ['://'],
    pattern:
      /(?<![A-Za-z0-9])[a-z][a-z0-9+.-]{1,20}:\/\/[^\s:/@"'`<>{}$\\]{0,64}:(?<secret>[^\s:/@"'`<>{}\\]{3,128})@(?<host>[A-Za-z0-9.-]{1,255})/g,
    isSecret: ({ groups }) => !isLocalHost(groups?.['host'] ?? '') && !isPlaceholder(groups?.['secret'] ?? ''),
  },
]

const NAMES =
  'secret|passw(?:or)?d|passphrase|api[_-]?key|access[_-]?key|auth[_-]?token|access[_-]?token|refresh[_-]?token|private[_-]?key|credential'

/** Whether a text has any name that {@link ASSIGNMENT} looks for: several times as quick, and most have none. */
export function hasSecretName(text: string): boolean {
  return SECRET_NAME.test(text)
}

const SECRET_NAME = new RegExp(NAMES, 'i')

/** A value that looks random, beside a name that promises a secret. Only for text that people of the project wrote. */
export const ASSIGNMENT: SecretRule = {
  id: 'secret-assignment',
  title: 'random value beside a name for secrets',
  marks: [],
  pattern: new RegExp(
    `(?<name>[A-Za-z0-9_.-]{0,40}(?:${NAMES})[A-Za-z0-9_-]{0,20})["'\`\\]]{0,2}\\s{0,4}(?::|=>?|,)\\s{0,4}["'\`](?<secret>[^\\s"'\`]{12,200})["'\`]`,
    'gi',
  ),
  isSecret: ({ groups }) => looksRandom(groups?.['secret'] ?? '') && !NOT_A_SECRET.test(groups?.['name'] ?? ''),
}

/** Names of names and of public things: `secretName`, `passwordHash`, `apiKeyHeader`. */
const NOT_A_SECRET =
  /(name|header|field|path|file|url|uri|id|type|label|hash|digest|prefix|regex|pattern|schema|message)$/i

function isRandom(match: RegExpExecArray): boolean {
  return !isPlaceholder(match.groups?.['secret'] ?? '')
}

/** Whether a value stands for a real one: words for examples, one character over and over, text to be filled in. */
export function isPlaceholder(value: string): boolean {
  if (/example|sample|changeme|change-me|placeholder|redacted|dummy|your[_-]|insert|replace|todo/i.test(value))
    return true
  if (/^(password|passwd|pass|secret|token|user|admin|root|test|postgres|guest|pw|xxx+|\*+|\.+|%s|%d)$/i.test(value))
    return true
  if (/\$\{|\$\(|\{\{|<[a-z]|%[A-Z_]+%|^\$[A-Z_]|process\.env/i.test(value)) return true
  if (/1234567890|0123456789|abcdefghijkl|ABCDEFGHIJKL/.test(value)) return true
  return new Set(value.slice(-16)).size <= 4
}

function isLocalHost(host: string): boolean {
  return /^(localhost|127\.\d+\.\d+\.\d+|0\.0\.0\.0|host|hostname|server|.*\.example|(.*\.)?example\.(com|org|net)|.*\.test|.*\.invalid)$/i.test(
    host,
  )
}

/** Whether the header is that of a token; the ones on jwt.io and in RFC 7519 are in many documents. */
function isSignedToken({ groups }: RegExpExecArray): boolean {
  const [header = '', , signature = ''] = (groups?.['secret'] ?? '').split('.')
  if (
    /^(SflKxwRJSMeKKF2QT4fwpMeJf36POk6yJV_adQssw5c|TJVA95OrM7E2cBab30RMHrHDcEfxjoYZgeFONFh7HgQ|dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk)$/.test(
      signature,
    )
  )
    return false
  try {
    const { alg } = JSON.parse(Buffer.from(header, 'base64url').toString()) as { alg?: unknown }
    return typeof alg === 'string'
  } catch {
    return false
  }
}

const MIN_BITS = 3.4

/** Letters and digits mixed, and spread as chance spreads them. Paths, words, versions and identifiers are not. */
function looksRandom(value: string): boolean {
  if (value.length < 16 || isPlaceholder(value)) return false
  if (/^(sha\d+-|data:|https?:|\.{0,2}\/|[a-z]+:[a-z]|@)/i.test(value) || /[()[\]{}<>;,|\s]/.test(value)) return false
  // Random text of this length has digits nearly always; words joined by capitals, dashes or dots have few.
  const digits = value.replace(/\D/g, '').length
  if (digits < 2 || !/[A-Za-z]/.test(value)) return false
  if (/^[\d.-]+$/.test(value) || /^([A-Za-z]+[-_.:/])+[A-Za-z]*\d{0,2}$/.test(value)) return false
  return entropy(value) >= MIN_BITS
}

/** Shannon entropy in bits per character. */
function entropy(text: string): number {
  const counts = new Map<string, number>()
  for (const character of text) counts.set(character, (counts.get(character) ?? 0) + 1)
  return [...counts.values()].reduce((sum, count) => sum - (count / text.length) * Math.log2(count / text.length), 0)
}
