import { archiveInvalid } from '../errors.ts'
import type { TarContent, TarEntry } from './entry.ts'

const BLOCK = 512
const TYPE_FLAG = { file: '0', hardlink: '1', symlink: '2', directory: '5' } as const
const DEFAULT_MODE = { file: 0o644, hardlink: 0o644, symlink: 0o777, directory: 0o755 } as const
const MAX_OCTAL_SIZE = 0o77777777777
const MAX_OCTAL_ID = 0o7777777

/**
 * Writes entries as a POSIX ustar archive, with a pax header (IEEE 1003.1, "pax Interchange Format") only where a value
 * does not fit the ustar one. Nothing of the machine gets into the bytes: the same entries give the same archive.
 * The order is the caller's; {@link sortEntries} gives the usual one.
 */
export async function* createTar(entries: Iterable<TarEntry> | AsyncIterable<TarEntry>): AsyncGenerator<Uint8Array> {
  for await (const entry of entries) {
    const sizeBytes = entry.type === 'file' ? contentSize(entry.content) : 0
    yield renderHeaders(entry, sizeBytes)
    if (sizeBytes === 0 || entry.content === undefined) continue
    yield* exactly(entry.path, entry.content, sizeBytes)
    const padding = (BLOCK - (sizeBytes % BLOCK)) % BLOCK
    if (padding > 0) yield new Uint8Array(padding)
  }
  yield new Uint8Array(2 * BLOCK)
}

/**
 * Entries sorted by path in byte order, parents first, missing parent directories added as root-owned 0755 with
 * `mtimeSeconds`. Throws `FAIRLEAD_OCI_ARCHIVE` when a path occurs twice: image layers may not hold duplicates.
 */
export function sortEntries(entries: Iterable<TarEntry>, mtimeSeconds = 0): TarEntry[] {
  const byPath = new Map<string, TarEntry>()
  for (const entry of entries) {
    if (byPath.has(entry.path)) throw archiveInvalid(`path "${entry.path}" occurs twice`)
    byPath.set(entry.path, entry)
  }
  for (const path of byPath.keys()) {
    for (const parent of parentsOf(path)) {
      if (!byPath.has(parent)) byPath.set(parent, { path: parent, type: 'directory', mtimeSeconds })
    }
  }
  return [...byPath.values()].toSorted((a, b) => Buffer.compare(Buffer.from(a.path), Buffer.from(b.path)))
}

function parentsOf(path: string): string[] {
  const parts = path.split('/')
  return parts.slice(1).map((_, index) => parts.slice(0, index + 1).join('/'))
}

function contentSize(content: TarContent | undefined): number {
  if (content === undefined) return 0
  return content instanceof Uint8Array ? content.byteLength : content.sizeBytes
}

async function* exactly(path: string, content: TarContent, sizeBytes: number): AsyncGenerator<Uint8Array> {
  if (content instanceof Uint8Array) {
    yield content
    return
  }
  let seen = 0
  for await (const chunk of content.open() as AsyncIterable<Uint8Array>) {
    seen += chunk.byteLength
    if (seen > sizeBytes) break
    yield chunk
  }
  if (seen !== sizeBytes) throw archiveInvalid(`file "${path}" changed its size while it was being read`)
}

function renderHeaders(entry: TarEntry, sizeBytes: number): Uint8Array {
  const path = entry.type === 'directory' ? `${entry.path}/` : entry.path
  const pax: [string, string][] = []
  const split = splitPath(path)
  if (!split) pax.push(['path', path])
  if (entry.linkPath !== undefined && !isShortAscii(entry.linkPath, 100)) pax.push(['linkpath', entry.linkPath])
  if (sizeBytes > MAX_OCTAL_SIZE) pax.push(['size', String(sizeBytes)])
  if ((entry.uid ?? 0) > MAX_OCTAL_ID) pax.push(['uid', String(entry.uid)])
  if ((entry.gid ?? 0) > MAX_OCTAL_ID) pax.push(['gid', String(entry.gid)])
  const header = renderHeader({
    ...(split ?? { name: asciiTail(path), prefix: '' }),
    typeFlag: TYPE_FLAG[entry.type],
    mode: (entry.mode ?? DEFAULT_MODE[entry.type]) & 0o7777,
    uid: fit(entry.uid, MAX_OCTAL_ID),
    gid: fit(entry.gid, MAX_OCTAL_ID),
    sizeBytes: fit(sizeBytes, MAX_OCTAL_SIZE),
    mtimeSeconds: Math.max(0, Math.floor(entry.mtimeSeconds ?? 0)),
    linkPath: entry.linkPath !== undefined && isShortAscii(entry.linkPath, 100) ? entry.linkPath : '',
  })
  return pax.length === 0 ? header : Buffer.concat([renderPaxHeader(pax), header])
}

function fit(value: number | undefined, max: number): number {
  return value === undefined || value > max ? 0 : value
}

function isShortAscii(text: string, max: number): boolean {
  return text.length <= max && /^[\x20-\x7e]*$/.test(text)
}

function asciiTail(path: string): string {
  return path.replace(/[^\x20-\x7e]/g, '_').slice(-100)
}

/** ustar holds 255 characters of path when a slash falls right: `prefix` up to 155, `name` up to 100. */
function splitPath(path: string): { name: string; prefix: string } | undefined {
  if (isShortAscii(path, 100)) return { name: path, prefix: '' }
  if (!isShortAscii(path, 256)) return undefined
  const slash = path.indexOf('/', path.length - 101)
  if (slash <= 0 || slash > 155 || slash === path.length - 1) return undefined
  return { name: path.slice(slash + 1), prefix: path.slice(0, slash) }
}

interface HeaderFields {
  name: string
  prefix: string
  typeFlag: string
  mode: number
  uid: number
  gid: number
  sizeBytes: number
  mtimeSeconds: number
  linkPath: string
}

function renderHeader(fields: HeaderFields): Uint8Array {
  const block = Buffer.alloc(BLOCK)
  block.write(fields.name, 0, 100, 'latin1')
  block.write(octal(fields.mode, 7), 100, 'latin1')
  block.write(octal(fields.uid, 7), 108, 'latin1')
  block.write(octal(fields.gid, 7), 116, 'latin1')
  block.write(octal(fields.sizeBytes, 11), 124, 'latin1')
  block.write(octal(fields.mtimeSeconds, 11), 136, 'latin1')
  block.fill(' ', 148, 156)
  block.write(fields.typeFlag, 156, 'latin1')
  block.write(fields.linkPath, 157, 100, 'latin1')
  block.write('ustar\u000000', 257, 'latin1')
  block.write(octal(0, 7), 329, 'latin1')
  block.write(octal(0, 7), 337, 'latin1')
  block.write(fields.prefix, 345, 155, 'latin1')
  const sum = block.reduce((total, byte) => total + byte, 0)
  block.write(`${octal(sum, 6)}\0 `, 148, 'latin1')
  return block
}

function octal(value: number, digits: number): string {
  return value.toString(8).padStart(digits, '0')
}

function renderPaxHeader(records: readonly [string, string][]): Uint8Array {
  const body = Buffer.from(records.map(([key, value]) => renderPaxRecord(key, value)).join(''))
  const header = renderHeader({
    name: 'PaxHeader',
    prefix: '',
    typeFlag: 'x',
    mode: 0o644,
    uid: 0,
    gid: 0,
    sizeBytes: body.byteLength,
    mtimeSeconds: 0,
    linkPath: '',
  })
  const padding = Buffer.alloc((BLOCK - (body.byteLength % BLOCK)) % BLOCK)
  return Buffer.concat([header, body, padding])
}

/** `<length> <key>=<value>\n`, where the length counts its own digits. */
function renderPaxRecord(key: string, value: string): string {
  const rest = Buffer.byteLength(` ${key}=${value}\n`)
  let length = rest + String(rest).length
  if (rest + String(length).length !== length) length = rest + String(length).length
  return `${length} ${key}=${value}\n`
}
