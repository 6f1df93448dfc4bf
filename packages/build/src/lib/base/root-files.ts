import { posix } from 'node:path'

import type { TarEntry, TarMember } from '@fairlead/oci/archive'

/** Merged into /usr as current systems have it; packages of older releases still ship files under the short names. */
const MERGED = /^(bin|sbin|lib|lib32|lib64|libx32)(\/|$)/

/** Character set converters, documentation other than licences, programs: nothing in the image can use them. */
const DROPPED = [
  /^usr\/lib\/[^/]+\/(gconv|audit)(\/|$)/,
  /^usr\/share\/(man|info|lintian|bug|locale|gdb|debianutils)(\/|$)/,
  /^usr\/share\/doc\/(?!(?:[^/]+)(?:\/copyright)?$)/,
  /^usr\/share\/zoneinfo\/(posix|right)(\/|$)/,
  /^usr\/share\/ca-certificates(\/|$)/,
  /^etc\/(ca-certificates|update-motd\.d|default)(\/|$)/,
  /^usr\/(bin|sbin|games|src|local)(\/|$)/,
]

/** What remains of glibc and the C++ libraries: those Node.js and native addons load; name service is part of libc itself. */
const MINIMAL =
  /^usr\/(lib|lib64)\/(?:[^/]+\/)?(ld-linux[^/]*|libc|libm|libdl|libpthread|librt|libresolv|libgcc_s|libstdc\+\+|libatomic)[-.\d]*\.so[.\d]*$/
const LIBRARY = /^usr\/lib(32|64|x32)?\/.*\.so[.\d]*$/

/** Licences stay: they must go with the files. */
function isMinimal(path: string, type: string): boolean {
  return (
    type !== 'directory' && (MINIMAL.test(path) || /^usr\/(lib\/os-release|share\/doc\/[^/]+\/copyright)$/.test(path))
  )
}

/**
 * Parts of these packages that hardly anything loads: vector mathematics for programs compiled with -ffast-math, tools for debuggers and
 * profilers, name services of old networks. A sixth of the base; whoever names the package libc6 gets them.
 */
const RARE = [
  /^usr\/lib\/[^/]+\/(libmvec|libc_malloc_debug|libthread_db|libnss_(?:compat|hesiod)|libmemusage|libpcprofile|libBrokenLocale|libnsl)\b/,
  /^usr\/share\/gcc\//,
  /^usr\/share\/zoneinfo\/tzdata\.zi$/,
]

const AUTHORITY = /^usr\/share\/ca-certificates\/.*\.crt$/

/**
 * Gathers the files of Debian packages into one root file system and adds what the maintainer scripts would have made:
 * accounts, the certificate bundle, name service configuration. Records each package under `/var/lib/dpkg/status.d`,
 * where scanners look for packages of images without a package manager.
 */
export class RootFiles {
  readonly #entries = new Map<string, TarEntry>()
  readonly #authorities = new Map<string, string>()
  readonly #profile: 'debian' | 'scratch'
  readonly #programs: RegExp | undefined
  readonly #isWhole: boolean
  #newestSeconds = 0
  #systemName = 'Debian'
  #distribution: { id: string; versionId: string } | undefined

  /** `programs`: paths of programs that stay, which are dropped otherwise. */
  constructor(
    profile: 'debian' | 'scratch' = 'debian',
    programs?: RegExp,
    { isWhole = false }: { readonly isWhole?: boolean | undefined } = {},
  ) {
    this.#profile = profile
    this.#isWhole = isWhole
    this.#programs = programs
  }

  addPackage(name: string, control: string, md5sums: string): void {
    this.#file(`var/lib/dpkg/status.d/${name}`, control)
    this.#file(`var/lib/dpkg/status.d/${name}.md5sums`, md5sums)
  }

  async addMember(member: TarMember): Promise<void> {
    this.#newestSeconds = Math.max(this.#newestSeconds, Math.floor(member.mtimeSeconds))
    const path = member.path.replace(MERGED, 'usr/$1$2')
    if (path === '') return
    if (AUTHORITY.test(path)) this.#authorities.set(path, (await member.bytes()).toString())
    if (!this.#programs?.test(path) && DROPPED.some((pattern) => pattern.test(path))) return
    if (!this.#isWhole && RARE.some((pattern) => pattern.test(path))) return
    if (this.#profile === 'scratch' && !isMinimal(path, member.type)) return
    const { type, mode, uid, gid, mtimeSeconds } = member
    if (type !== 'file' && type !== 'directory' && type !== 'symlink' && type !== 'hardlink') return
    const content = type === 'file' ? await member.bytes() : undefined
    if (path === 'usr/lib/os-release') this.#readRelease(content?.toString() ?? '')
    const linkPath = type === 'hardlink' ? member.linkPath.replace(MERGED, 'usr/$1$2') : member.linkPath
    this.#entries.set(path, { path, type, mode, uid, gid, mtimeSeconds, linkPath, content })
  }

  /** All entries of the file system and the system's own names. */
  finish(): {
    entries: TarEntry[]
    systemName: string
    distribution: { id: string; versionId: string } | undefined
    libraries: string[]
  } {
    for (const path of this.#shortNames()) this.#link(path, `usr/${path}`)
    const bundle = [...this.#authorities].toSorted(([a], [b]) => (a < b ? -1 : 1)).map(([, text]) => text.trimEnd())
    if (bundle.length > 0) this.#file('etc/ssl/certs/ca-certificates.crt', `${bundle.join('\n')}\n`)
    this.#file('etc/passwd', PASSWD)
    this.#file('etc/group', GROUP)
    this.#file('etc/nsswitch.conf', NSSWITCH)
    this.#directory('tmp', 0o1777)
    this.#directory('var/tmp', 0o1777)
    this.#directory('root', 0o700)
    this.#directory('home/nonroot', 0o700, 65532)
    this.#directory('app', 0o755)
    for (const path of ['dev', 'proc', 'sys', 'run']) this.#directory(path, 0o755)
    return {
      entries: [...this.#entries.values()],
      systemName: this.#systemName,
      distribution: this.#distribution,
      libraries: [...this.#entries.keys()]
        .filter((path) => LIBRARY.test(path))
        .map((path) => posix.basename(path))
        .toSorted(),
    }
  }

  #readRelease(text: string): void {
    const field = (name: string): string | undefined => new RegExp(`^${name}="?([^"\\n]+)"?$`, 'm').exec(text)?.[1]
    this.#systemName = field('PRETTY_NAME') ?? this.#systemName
    const [id, versionId] = [field('ID'), field('VERSION_ID')]
    if (id !== undefined && versionId !== undefined) this.#distribution = { id, versionId }
  }

  #shortNames(): string[] {
    const paths = [...this.#entries.keys()]
    return ['bin', 'sbin', 'lib', 'lib32', 'lib64', 'libx32'].filter(
      (name) => name === 'lib' || paths.some((path) => path.startsWith(`usr/${name}/`)),
    )
  }

  #file(path: string, text: string): void {
    this.#entries.set(path, {
      path,
      type: 'file',
      mode: 0o644,
      mtimeSeconds: this.#newestSeconds,
      content: Buffer.from(text),
    })
  }

  #link(path: string, linkPath: string): void {
    this.#entries.set(path, { path, type: 'symlink', linkPath, mtimeSeconds: this.#newestSeconds })
  }

  #directory(path: string, mode: number, owner = 0): void {
    this.#entries.set(path, {
      path,
      type: 'directory',
      mode,
      uid: owner,
      gid: owner,
      mtimeSeconds: this.#newestSeconds,
    })
  }
}

const PASSWD = `root:x:0:0:root:/root:/sbin/nologin
nobody:x:65534:65534:nobody:/nonexistent:/sbin/nologin
nonroot:x:65532:65532:nonroot:/home/nonroot:/sbin/nologin
`

const GROUP = `root:x:0:
tty:x:5:
staff:x:50:
nogroup:x:65534:
nonroot:x:65532:
`

const NSSWITCH = `passwd: files
group: files
shadow: files
hosts: files dns
services: files
protocols: files
`
