import { readdir, readFile } from 'node:fs/promises'
import { join } from 'node:path'

import { isElf, parseElf } from '../native/elf.ts'
import type { Host } from './plan.ts'

interface Manifest {
  name?: string
  scripts?: Readonly<Record<string, string>>
  prebuild?: unknown
}

/**
 * Whether the install scripts of a package have nothing to do: it has none but `node-gyp-build`, which builds only what does not
 * load, and brings an addon by Node-API for this machine. What cannot be told without running something is answered by no.
 */
export async function needsNoBuild(dir: string, host: Host, env: NodeJS.ProcessEnv): Promise<boolean> {
  const text = await readFile(join(dir, 'package.json'), 'utf8')
  const { name = '', scripts = {}, prebuild } = JSON.parse(text) as Manifest
  const { preinstall, install, postinstall } = scripts
  if (preinstall !== undefined || postinstall !== undefined || install !== 'node-gyp-build') return false
  const own = name.toUpperCase().replaceAll('-', '_')
  const steering = ['PREBUILDS_ONLY', 'LIBC', 'ARM_VERSION', own, `${own}_PREBUILD`, 'NODE_OPTIONS']
  if (prebuild !== undefined || steering.some((variable) => env[variable])) return false
  return host.os === 'linux' && loadsHere(join(dir, 'prebuilds', `linux-${host.cpu}`), host)
}

/** What Node.js itself is linked with. */
const PRESENT = /^(ld-|lib(c|m|dl|rt|pthread|gcc_s|stdc\+\+)\.so|libc\.musl-)/

/** All files that could be chosen must load: which one is, the libraries of node-gyp-build decide. */
async function loadsHere(dir: string, host: Host): Promise<boolean> {
  const names = await readdir(dir).catch(() => [])
  const libc = host.libc === 'musl' ? 'musl' : 'glibc'
  const others = libc === 'musl' ? '.glibc.' : '.musl.'
  const chosen = names.filter((name) => name.endsWith('.node') && !name.includes(others))
  if (chosen.length === 0) return false
  // Addons for one version of Node.js, of libuv or of a processor family are not judged here.
  if (chosen.some((name) => /(^|\.)(abi|uv|armv)\d|electron|node-webkit/.test(name))) return false
  const found = await Promise.all(chosen.map((name) => readFile(join(dir, name))))
  return found.every((bytes) => isLoadable(bytes, host, libc))
}

function isLoadable(bytes: Buffer, host: Host, libc: 'glibc' | 'musl'): boolean {
  if (!isElf(bytes)) return false
  const elf = parseElf(bytes)
  const isForCpu = elf.architecture === (host.cpu === 'x64' ? 'amd64' : host.cpu)
  const isLinked = elf.needed.every((name) => PRESENT.test(name))
  return isForCpu && isLinked && elf.libc === libc && (libc === 'musl' || isOld(elf.glibc, host.glibc))
}

function isOld(needed: string | undefined, present: string | undefined): boolean {
  if (needed === undefined) return true
  const [major = 0, minor = 0] = needed.split('.').map(Number)
  const [ownMajor = 0, ownMinor = 0] = (present ?? '0').split('.').map(Number)
  return major < ownMajor || (major === ownMajor && minor <= ownMinor)
}
