import { createHash, hash } from 'node:crypto'

import { ASSIGNMENT, hasSecretName, isPlaceholder, RULES, RULES_VERSION } from './rules.ts'
import type { SecretRule } from './rules.ts'

/** A value that looks like a credential. The value itself is not in here. */
export interface SecretFinding {
  rule: string
  title: string
  /** File it comes from; `image configuration` for environment variables. */
  path: string
  /** From 1; 0 when the file as a whole is meant. */
  line: number
  /** What stands around the value, the value masked. */
  excerpt: string
  /** Names this value at this place, for {@link AllowedSecret}. */
  fingerprint: string
}

/** Text found to be clean before, by digest; grown by a search. Makes the second search of a large bundle cheap. */
export type CleanTexts = Set<string>

/** How to search. */
export interface DetectOptions {
  clean?: CleanTexts | undefined
  /** The text of a source file, to name the line there instead of the line in the bundle. */
  readSource?: ((path: string) => string | undefined) | undefined
}

const FILES = [
  { pattern: /(^|\/)\.env(\.(?!example$|sample$|template$|dist$|schema$)[\w.-]+)?$/, title: 'environment file' },
  { pattern: /(^|\/)(id_(rsa|dsa|ecdsa|ed25519)|.*\.(p12|pfx|jks|keystore|kdbx|ppk))$/, title: 'key store' },
  { pattern: /(^|\/)(\.netrc|\.pgpass|\.git-credentials|\.htpasswd|\.pypirc)$/, title: 'file of passwords' },
  {
    pattern: /(^|\/)(\.aws\/credentials|\.docker\/config\.json|\.kube\/config|.*\.tfstate)$/,
    title: 'file of credentials',
  },
] as const

/**
 * Searches one file that is about to enter an image: by its name, and by what is in it. Text of published packages and of
 * data (lock files, source maps, fixtures) is searched for the exact forms of credentials, text of the project also for
 * random values beside names such as `apiKey`. Binary files are searched for private keys only.
 */
export function detectSecrets(path: string, content: Uint8Array, options: DetectOptions = {}): SecretFinding[] {
  const found: SecretFinding[] = []
  const file = FILES.find(({ pattern }) => pattern.test(path))
  if (file && content.byteLength > 0) {
    const fingerprint = fingerprintOf('credential-file', path, '')
    found.push({ rule: 'credential-file', title: file.title, path, line: 0, excerpt: file.title, fingerprint })
  }
  const bytes = Buffer.from(content.buffer, content.byteOffset, content.byteLength)
  const isBinary = bytes.subarray(0, 8192).includes(0)
  for (const part of partsOf(path, bytes)) found.push(...searchPart(part, isBinary, options))
  return found
}

/** Searches values that have a name: environment variables and labels of an image. */
export function detectNamedSecrets(path: string, values: readonly (readonly [string, string])[]): SecretFinding[] {
  return values.flatMap(([name, value]) => {
    const text = `${name}="${value}"`
    const strict = searchText({ path, text, firstLine: 1 }, RULES).concat(
      searchAll({ path, text, firstLine: 1 }, ASSIGNMENT),
    )
    // In the environment a name alone says enough: there is no code that could only mention it.
    const isNamed = /(secret|passw(or)?d|passphrase|api_?key|access_?key|token|private_?key)$/i.test(name)
    if (strict.length > 0 || !isNamed || value.length < 6 || isPlaceholder(value) || /^(\/|https?:)/.test(value))
      return strict
    const fingerprint = fingerprintOf('secret-variable', path, value)
    return [
      {
        rule: 'secret-variable',
        title: 'value of a variable named for a secret',
        path,
        line: 0,
        excerpt: `${name}=***`,
        fingerprint,
      },
    ]
  })
}

interface Part {
  /** Source file the text comes from. */
  path: string
  bytes: Buffer
  /** Line of `bytes` in the file that was given. */
  startLine: () => number
}

/** The two ways of the bundler to name the source file of what follows; a comment of the source is not left on a line of its own. */
const MARK = /^\/\/(?:#region)? (?=\S)(?<owner>[^\n]*?\.(?:[cm]?[jt]sx?|json))(?:[?#][^\n]*)?$/gm

/** Bundles mark what came from which file; each such part is searched, named and remembered on its own. */
function* partsOf(path: string, bytes: Buffer): Generator<Part> {
  let start = 0
  let owner = path
  for (const mark of marksOf(path, bytes)) {
    yield part(start, mark.index)
    owner = Buffer.from(mark.groups?.['owner'] ?? '', 'latin1').toString()
    start = mark.index
  }
  yield part(start, bytes.byteLength)

  function part(from: number, to: number): Part {
    return { path: owner, bytes: bytes.subarray(from, to), startLine: () => countLines(bytes.subarray(0, from)) + 1 }
  }
}

/** Bundles lie in no folder below the program's own. As Latin-1, places in the text are those in the bytes. */
function marksOf(path: string, bytes: Buffer): Iterable<RegExpExecArray> {
  return /^[^/]+\.[cm]?js$/.test(path) ? bytes.toString('latin1').matchAll(MARK) : []
}

function searchPart({ path, bytes, startLine }: Part, isBinary: boolean, options: DetectOptions): SecretFinding[] {
  if (bytes.byteLength === 0) return []
  const isQuiet = QUIET.test(path)
  const key = options.clean && `${isQuiet ? 'q' : ''}${hash('sha256', bytes, 'base64url').slice(0, 24)}`
  if (key !== undefined && options.clean?.has(key)) return []
  const text = bytes.toString('latin1')
  const subject: Subject = { path, text, firstLine: startLine, readSource: options.readSource }
  const found = isBinary ? searchText(subject, [PRIVATE_KEY]) : searchText(subject, RULES)
  if (!isBinary && !isQuiet && hasSecretName(text)) {
    const known = new Set(found.map(({ line }) => line))
    found.push(...searchAll(subject, ASSIGNMENT).filter(({ line }) => !known.has(line)))
  }
  if (key !== undefined && found.length === 0) options.clean?.add(key)
  return found
}

const PRIVATE_KEY = RULES.find(({ id }) => id === 'private-key') as SecretRule

/** Code that is published, data made by programs, and examples: full of random text that is no secret of this project. */
const QUIET =
  /(^|\/)(node_modules|tests?|__tests__|fixtures?|__fixtures__|testdata|spec)\/|(^|\/)(package-lock\.json|npm-shrinkwrap\.json|yarn\.lock|pnpm-lock\.yaml)$|\.(map|svg|css|csv|woff2?)$|\.(test|spec)\.[cm]?[jt]sx?$/

interface Subject {
  path: string
  text: string
  firstLine: number | (() => number)
  readSource?: ((path: string) => string | undefined) | undefined
}

const BEFORE = 128
const AFTER = 1024

/** Looks for the marks, and applies a rule's pattern to what stands around each. */
function searchText(subject: Subject, rules: readonly SecretRule[]): SecretFinding[] {
  const found = new Map<string, SecretFinding>()
  const { text } = subject
  for (const rule of rules) {
    for (const mark of rule.marks) {
      for (let at = text.indexOf(mark); at !== -1; at = text.indexOf(mark, at + mark.length)) {
        const start = Math.max(0, at - BEFORE)
        const near = text.slice(start, at + AFTER)
        for (const match of near.matchAll(rule.pattern)) {
          const end = match.index + match[0].length
          if (match.index > at - start || end < at - start) continue
          const finding = toFinding(subject, rule, match, start)
          if (finding) found.set(`${finding.rule} ${finding.fingerprint} ${finding.line}`, finding)
        }
      }
    }
  }
  return [...found.values()]
}

function searchAll(subject: Subject, rule: SecretRule): SecretFinding[] {
  return [...subject.text.matchAll(rule.pattern)].flatMap((match) => toFinding(subject, rule, match, 0) ?? [])
}

function toFinding(
  subject: Subject,
  rule: SecretRule,
  match: RegExpExecArray,
  offset: number,
): SecretFinding | undefined {
  if (rule.isSecret && !rule.isSecret(match)) return undefined
  const secret = match.groups?.['secret'] ?? ''
  const { path, text, firstLine } = subject
  const at = offset + match.index
  const excerpt = match[0].slice(0, match[0].lastIndexOf(secret)).replace(/\s+/g, ' ').slice(-60)
  const host = match.groups?.['host'] === undefined ? '' : `@${match.groups['host']}`
  return {
    rule: rule.id,
    title: rule.title,
    path,
    line:
      lineInSource(subject, secret) ??
      (typeof firstLine === 'number' ? firstLine : firstLine()) + countNewlines(text, at),
    excerpt: `${excerpt}***${host} (${secret.length} characters)`,
    fingerprint: fingerprintOf(rule.id, path, secret),
  }
}

function lineInSource({ path, readSource }: Subject, secret: string): number | undefined {
  const source = readSource?.(path)
  const at = source?.indexOf(secret) ?? -1
  return source === undefined || at === -1 ? undefined : countNewlines(source, at) + 1
}

function countNewlines(text: string, end: number): number {
  let lines = 0
  for (let at = text.indexOf('\n'); at !== -1 && at < end; at = text.indexOf('\n', at + 1)) lines += 1
  return lines
}

function countLines(bytes: Buffer): number {
  let lines = 0
  for (let at = bytes.indexOf(0x0a); at !== -1; at = bytes.indexOf(0x0a, at + 1)) lines += 1
  return lines
}

function fingerprintOf(rule: string, path: string, secret: string): string {
  return createHash('sha256').update([RULES_VERSION, rule, path, secret].join('\0')).digest('hex').slice(0, 16)
}
