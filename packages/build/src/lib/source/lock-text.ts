/** What a lock file fixes about one version of a package. */
export interface LockedVersion {
  version: string
  integrity?: string | undefined
  resolved?: string | undefined
}

/** A lock file of pnpm or Yarn as far as a build needs it. */
export interface LockText {
  /** By `name@version`. */
  versions: ReadonlyMap<string, LockedVersion>
  /** The version a dependency written as `name@range` in the package at `workspace` was fixed to, when it is told. */
  versionOf(workspace: string, name: string, range: string): string | undefined
  /** Whether `workspace` is one of its folders; `undefined` when the file does not list them. */
  hasWorkspace(workspace: string): boolean | undefined
}

/**
 * Reads `pnpm-lock.yaml` of version 9 (pnpm 9 and later); `undefined` for another version. pnpm writes one fixed style of YAML,
 * which is all that is read here.
 */
export function parsePnpmLock(text: string): LockText | undefined {
  const root = parseIndented(text)
  if (!/^9\b/.test(leaf(root, 'lockfileVersion') ?? '')) return undefined
  const versions = new Map<string, LockedVersion>()
  for (const [key, value] of branch(root, 'packages') ?? []) {
    const at = key.lastIndexOf('@')
    const resolution = (value instanceof Map ? leaf(value, 'resolution') : undefined) ?? ''
    const field = (name: string): string | undefined => new RegExp(`\\b${name}: ([^,}]+)`).exec(resolution)?.[1]
    const version = (value instanceof Map ? leaf(value, 'version') : undefined) ?? key.slice(at + 1)
    const name = key.slice(0, key.indexOf('@', 1))
    versions.set(`${name}@${version}`, {
      version,
      integrity: field('integrity'),
      resolved: field('tarball'),
    })
  }
  const importers = branch(root, 'importers')
  return {
    versions,
    hasWorkspace: (workspace) => importers?.has(workspace === '' ? '.' : workspace) ?? false,
    versionOf(workspace, name) {
      const importer = branch(importers, workspace === '' ? '.' : workspace)
      for (const group of ['dependencies', 'optionalDependencies']) {
        const version = branch(branch(importer, group), name)?.get('version')
        // Peers stand behind in brackets; an alias is `name@version`; `link:` and `file:` have no version.
        const plain = typeof version === 'string' ? version.replace(/\(.*$/, '').replace(/^.*@(?=\d)/, '') : undefined
        if (plain !== undefined) return /^\d/.test(plain) ? plain : undefined
      }
      return undefined
    },
  }
}

/** Reads `yarn.lock` as Yarn 1 or as Yarn 2 and later write it. */
export function parseYarnLock(text: string): LockText {
  return text.includes('\n__metadata:') ? parseBerryLock(text) : parseClassicLock(text)
}

function parseBerryLock(text: string): LockText {
  const versions = new Map<string, LockedVersion>()
  const byRange = new Map<string, string>()
  for (const [key, value] of parseIndented(text)) {
    if (!(value instanceof Map) || key === '__metadata') continue
    const version = leaf(value, 'version') ?? ''
    const resolution = leaf(value, 'resolution') ?? ''
    if (resolution.includes('@workspace:')) continue
    versions.set(`${nameOf(resolution)}@${version}`, { version })
    for (const range of key.split(', ')) byRange.set(range.replace('@npm:', '@'), version)
  }
  return {
    versions,
    hasWorkspace: () => undefined,
    versionOf: (_workspace, name, range) => byRange.get(`${name}@${range.replace(/^npm:/, '')}`),
  }
}

function parseClassicLock(text: string): LockText {
  const versions = new Map<string, LockedVersion>()
  const byRange = new Map<string, string>()
  for (const block of text.split(/\n(?=\S)/)) {
    const [head = '', ...lines] = block.split('\n')
    const field = (name: string): string | undefined =>
      lines
        .find((line) => line.startsWith(`  ${name} `))
        ?.slice(name.length + 3)
        .replaceAll('"', '')
    const version = field('version')
    if (version === undefined || !head.endsWith(':')) continue
    const ranges = head
      .slice(0, -1)
      .split(', ')
      .map((range) => range.replaceAll('"', ''))
    const locked = { version, integrity: field('integrity'), resolved: field('resolved') }
    for (const range of ranges) {
      byRange.set(range, version)
      // An alias, `name@npm:other@range`, is installed under its own name and holds the other package.
      const target = /@npm:(.+)$/.exec(range)?.[1]
      versions.set(`${nameOf(target ?? range)}@${version}`, locked)
    }
  }
  return {
    versions,
    hasWorkspace: () => undefined,
    versionOf: (_workspace, name, range) => byRange.get(`${name}@${range}`),
  }
}

/** `@scope/name` or `name` of `name@anything`. */
function nameOf(text: string): string {
  const at = text.indexOf('@', 1)
  return at === -1 ? text : text.slice(0, at)
}

type Branch = Map<string, string | Branch>

function branch(parent: Branch | undefined, key: string): Branch | undefined {
  const value = parent?.get(key)
  return value instanceof Map ? value : undefined
}

function leaf(parent: Branch, key: string): string | undefined {
  const value = parent.get(key)
  return typeof value === 'string' ? value : undefined
}

/** Maps by indentation, `key: value` on a line each: the part of YAML that package managers write. Lists are left out. */
function parseIndented(text: string): Branch {
  const root: Branch = new Map()
  const open: { indent: number; branch: Branch }[] = [{ indent: -1, branch: root }]
  for (const line of text.split('\n')) {
    const indent = line.length - line.trimStart().length
    const match = /^("(?:[^"\\]|\\.)*"|'(?:[^']|'')*'|[^\s#'"-].*?):(?: (.*))?$/.exec(line.trim())
    if (!match) continue
    while ((open.at(-1)?.indent ?? -1) >= indent) open.pop()
    const parent = open.at(-1)?.branch ?? root
    const key = unquoted(match[1] ?? '')
    if (match[2] !== undefined && match[2] !== '') {
      parent.set(key, unquoted(match[2]))
      continue
    }
    const child: Branch = new Map()
    parent.set(key, child)
    open.push({ indent, branch: child })
  }
  return root
}

function unquoted(text: string): string {
  if (text.startsWith("'") && text.endsWith("'")) return text.slice(1, -1).replaceAll("''", "'")
  return text.startsWith('"') && text.endsWith('"') ? text.slice(1, -1) : text
}
