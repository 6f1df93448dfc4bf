import { mkdir, writeFile } from 'node:fs/promises'
import { join } from 'node:path'

import { runCommand } from '../run-command.ts'

/** A package as the archive's signed index describes it. */
export interface DebianPackage {
  name: string
  version: string
  architecture: string
  /** `Source` field: name, and version in brackets where it differs; empty when the source has the package's own name. */
  source: string
  depends: string
  sha256: string
}

/** The machine's own apt with its sources, proxies and keys, but with state of its own, so that it needs no root. */
export interface Apt {
  /** Fetches the indexes; apt checks their signatures. */
  update(): Promise<void>
  /** Names of all packages that have to be there for these to work, themselves included. */
  closure(names: readonly string[]): Promise<string[]>
  /** The versions apt would install. */
  show(names: readonly string[]): Promise<DebianPackage[]>
  /** Fetches packages into `dir`, checked against the signed indexes. */
  download(packages: readonly DebianPackage[], dir: string): Promise<void>
}

/** How apt is run. */
export interface AptOptions {
  /** Holds apt's lists and caches. */
  dir: string
  architecture: 'amd64' | 'arm64'
  env: NodeJS.ProcessEnv
  signal?: AbortSignal | undefined
}

/** Sets up a private apt in `options.dir`. */
export async function openApt(options: AptOptions): Promise<Apt> {
  const { dir, signal } = options
  for (const name of ['lists/partial', 'cache/archives/partial']) await mkdir(join(dir, name), { recursive: true })
  await writeFile(join(dir, 'status'), '')
  const config = join(dir, 'apt.conf')
  await writeFile(config, renderConfig(options))
  const env = { ...options.env, LC_ALL: 'C', DEBIAN_FRONTEND: 'noninteractive' }
  const run = (program: string, args: readonly string[], cwd = dir): Promise<string> =>
    runCommand(program, ['-c', config, ...args], { cwd, env, signal, timeoutMs: 5 * 60_000 })
  return {
    async update() {
      await run('apt-get', ['-q', 'update'])
    },
    async closure(names) {
      const args = ['-q', 'install', '--simulate', '--no-install-recommends', '-o', 'Debug::NoLocking=1', ...names]
      const text = await run('apt-get', args)
      return [...text.matchAll(/^Inst (\S+)/gm)].map(([, name = '']) => name)
    },
    async show(names) {
      return parsePackages(await run('apt-cache', ['show', '--no-all-versions', ...names]))
    },
    async download(packages, target) {
      await run('apt-get', ['-q', 'download', ...packages.map(({ name, version }) => `${name}=${version}`)], target)
    },
  }
}

/**
 * Given with `-c`, so it is read last. Hooks are cleared: those of the machine work on the machine's own state. Container
 * images often turn the binary caches off; without them every call parses all indexes again, a second each.
 */
function renderConfig({ dir, architecture }: AptOptions): string {
  return `Dir::State ${quoted(dir)};
Dir::State::lists ${quoted(join(dir, 'lists'))};
Dir::State::status ${quoted(join(dir, 'status'))};
Dir::Cache ${quoted(join(dir, 'cache'))};
Dir::Cache::archives ${quoted(join(dir, 'cache/archives'))};
Dir::Cache::pkgcache "pkgcache.bin";
Dir::Cache::srcpkgcache "srcpkgcache.bin";
#clear APT::Architectures;
APT::Architecture "${architecture}";
APT::Architectures { "${architecture}"; };
APT::Sandbox::User "root";
Acquire::Languages "none";
Acquire::Retries "2";
Acquire::http::Timeout "20";
Acquire::https::Timeout "20";
Acquire::IndexTargets::deb-src::Sources::DefaultEnabled "false";
Acquire::IndexTargets::deb::DEP-11::DefaultEnabled "false";
Acquire::IndexTargets::deb::DEP-11-icons-small::DefaultEnabled "false";
Acquire::IndexTargets::deb::DEP-11-icons::DefaultEnabled "false";
Acquire::IndexTargets::deb::Contents-deb::DefaultEnabled "false";
#clear APT::Update::Pre-Invoke;
#clear APT::Update::Post-Invoke;
#clear APT::Update::Post-Invoke-Success;
#clear DPkg::Pre-Invoke;
#clear DPkg::Post-Invoke;
`
}

function quoted(path: string): string {
  return `"${path.replaceAll('"', '\\"')}"`
}

/** Reads the stanzas that `apt-cache show` prints; the first one of a name is the one apt would install. */
function parsePackages(text: string): DebianPackage[] {
  const packages = new Map<string, DebianPackage>()
  for (const stanza of text.split(/\n\n+/)) {
    const field = (name: string): string => new RegExp(`^${name}: (.*)$`, 'm').exec(stanza)?.[1] ?? ''
    const name = field('Package')
    if (name === '' || packages.has(name)) continue
    packages.set(name, {
      name,
      version: field('Version'),
      architecture: field('Architecture'),
      source: field('Source'),
      depends: field('Depends'),
      sha256: field('SHA256'),
    })
  }
  return [...packages.values()]
}
