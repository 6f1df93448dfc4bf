import { posix } from 'node:path'

import type { Layout, ResolvedImage } from '../layout/layout.ts'
import { openLayer } from './files.ts'

/** Why a file is in an image. */
export interface FileOwner {
  readonly kind: 'debian' | 'alpine' | 'npm'
  readonly name: string
  readonly version: string
}

/**
 * The package a file belongs to: by the lists that Debian (also the distroless form) and Alpine keep, or by the `node_modules`
 * folder it lies in. Undefined when no package brought it.
 */
export async function findOwner(
  layout: Layout,
  { manifest }: ResolvedImage,
  path: string,
): Promise<FileOwner | undefined> {
  const npm = npmFolderOf(path)
  let owner: FileOwner | undefined
  const versions = new Map<string, string>()
  for (const descriptor of manifest.layers) {
    for await (const member of openLayer(layout, descriptor)) {
      if (member.path === `${npm}/package.json`) owner = readNpm(await member.bytes()) ?? owner
      else if (isDebianList(member.path)) {
        const name = posix.basename(member.path).replace(/\.(md5sums|list)$/, '')
        if (listsPath(await member.bytes(), path))
          owner = { kind: 'debian', name: name.replace(/:.*/, ''), version: '' }
      } else if (isDebianStatus(member.path)) readDebianVersions(await member.bytes(), versions)
      else if (member.path === 'lib/apk/db/installed') owner = findInApk(await member.bytes(), path) ?? owner
    }
  }
  return owner?.kind === 'debian' ? { ...owner, version: versions.get(owner.name) ?? 'unknown' } : owner
}

function npmFolderOf(path: string): string | undefined {
  return /^(?:.*\/)?node_modules\/(?:@[^/]+\/)?[^/]+(?=\/)/.exec(path)?.[0]
}

function readNpm(bytes: Buffer): FileOwner | undefined {
  try {
    const { name, version } = JSON.parse(bytes.toString()) as { name?: unknown; version?: unknown }
    if (typeof name === 'string')
      return { kind: 'npm', name, version: typeof version === 'string' ? version : 'unknown' }
  } catch {
    // A package.json that is none says nothing of an owner.
  }
  return undefined
}

function isDebianList(path: string): boolean {
  return /^var\/lib\/dpkg\/(status\.d\/[^/]+\.md5sums|info\/[^/]+\.(list|md5sums))$/.test(path)
}

function isDebianStatus(path: string): boolean {
  return path === 'var/lib/dpkg/status' || /^var\/lib\/dpkg\/status\.d\/[^/]+$/.test(path)
}

/** Lines are `path`, or `md5  path`, with or without a slash in front. */
function listsPath(bytes: Buffer, path: string): boolean {
  // Packages may still say /lib where that is a link to /usr/lib by now.
  const names = new Set([path, path.replace(/^usr\/(?=(?:bin|sbin|lib\w*)\/)/, '')])
  return bytes
    .toString()
    .split('\n')
    .some((line) => names.has(line.replace(/^[0-9a-f]{32} +/, '').replace(/^\.?\//, '')))
}

function readDebianVersions(bytes: Buffer, versions: Map<string, string>): void {
  for (const paragraph of bytes.toString().split('\n\n')) {
    const name = /^Package: (.+)$/m.exec(paragraph)?.[1]
    const version = /^Version: (.+)$/m.exec(paragraph)?.[1]
    if (name !== undefined && version !== undefined) versions.set(name, version)
  }
}

/** Alpine's database: `P:` name, `V:` version, `F:` folder, `R:` file in it (apk-tools, "installed database"). */
function findInApk(bytes: Buffer, path: string): FileOwner | undefined {
  const [folder, file] = [posix.dirname(path), posix.basename(path)]
  for (const paragraph of bytes.toString().split('\n\n')) {
    let current = ''
    for (const line of paragraph.split('\n')) {
      if (line.startsWith('F:')) current = line.slice(2)
      else if (line === `R:${file}` && current === folder) {
        const name = /^P:(.+)$/m.exec(paragraph)?.[1] ?? 'unknown'
        return { kind: 'alpine', name, version: /^V:(.+)$/m.exec(paragraph)?.[1] ?? 'unknown' }
      }
    }
  }
  return undefined
}
