// What a fresh clone needs before anything can run: npm packages (with the Node version we develop on) and, for root on
// Debian, the system packages that run containers. Plain JavaScript for any Node >= 18, because the right Node is one of the
// things it installs. A second run finds everything in place and says nothing.
import { spawnSync } from 'node:child_process'
import { createHash } from 'node:crypto'
import { accessSync, constants, existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { delimiter, dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'

export const root = dirname(dirname(fileURLToPath(import.meta.url)))
const stampFile = join(root, 'node_modules', '.fairlead-setup')

/** Debian packages by the programs they bring. Containers need the first list, the tests also the second. */
const containerPackages = [
  { program: 'runc', package: 'runc' },
  { program: 'conmon', package: 'conmon' },
  { program: 'nft', package: 'nftables' },
  { program: 'ip', package: 'iproute2' },
]
const testPackages = [
  { program: 'skopeo', package: 'skopeo' },
  { program: 'readelf', package: 'binutils' },
  { program: 'umoci', package: 'umoci' },
  { program: 'buildah', package: 'buildah' },
  { program: 'kubectl', package: 'kubernetes-client' },
  { program: 'docker-registry', package: 'docker-registry' },
  { program: 'dig', package: 'bind9-dnsutils' },
  { program: 'conntrack', package: 'conntrack' },
  { program: 'busybox', package: 'busybox-static' },
  { program: 'openssl', package: 'openssl' },
  { program: 'prometheus', package: 'prometheus' },
]

/**
 * Brings the clone into a state where the product (and with `tests` its whole test suite) runs.
 * Returns the Node binary to use. Throws when npm fails; missing system packages are only reported, because everything
 * except containers works without them.
 */
export function setUp({ tests = false } = {}) {
  installNpmPackages()
  installSystemPackages(tests ? [...containerPackages, ...testPackages] : containerPackages)
  return nodeBinary()
}

/** The Node that the npm package brought, or the running one when that is new enough. */
export function nodeBinary() {
  const bundled = join(root, 'node_modules', `node-${process.platform}-${process.arch}`, 'bin', 'node')
  if (existsSync(bundled)) return bundled
  const [major = 0, minor = 0] = process.versions.node.split('.').map(Number)
  if (major > 24 || (major === 24 && minor >= 12)) return process.execPath
  fail(
    `Cannot find Node >= 24.12 for ${process.platform}-${process.arch}: this is Node ${process.versions.node}`,
    'Install Node 24 or newer and run the command again.',
  )
}

function installNpmPackages() {
  const lock = readFileSync(join(root, 'package-lock.json'))
  const wanted = createHash('sha256')
    .update(lock)
    .update(process.platform + process.arch)
    .digest('hex')
  if (existsSync(stampFile) && readFileSync(stampFile, 'utf8') === wanted) return
  say('installing npm packages (once; takes up to a minute)')
  // Not `npm ci`: a lock file made where a registry lacks the binaries of other platforms does not list them, and `npm ci`
  // refuses such a lock file, while `--no-save` keeps to it and looks up what it does not list.
  const result = spawnSync('npm', ['install', '--no-save', '--no-audit', '--no-fund', '--loglevel=error'], {
    cwd: root,
    stdio: ['ignore', 2, 2],
  })
  if (result.status !== 0)
    fail(
      'Cannot install the npm packages: npm install failed',
      'Read what npm said above; a proxy or registry setting belongs into your npm configuration.',
    )
  mkdirSync(dirname(stampFile), { recursive: true })
  writeFileSync(stampFile, wanted)
}

function installSystemPackages(wanted) {
  if (process.platform !== 'linux') return
  const missing = wanted.filter(({ program }) => !onPath(program)).map((entry) => entry.package)
  if (missing.length === 0) return
  const command = `apt-get install -y --no-install-recommends ${missing.join(' ')}`
  if (process.getuid() !== 0 || !onPath('apt-get')) {
    say(
      `not installed: ${missing.join(', ')}; pods run as plain processes without runc, conmon and nftables (on Debian: sudo ${command})`,
    )
    return
  }
  say(`installing Debian packages: ${missing.join(', ')}`)
  const install = () => apt('install', '-y', '--no-install-recommends', ...missing)
  if (install() || (apt('update') && install())) return
  say(
    `could not install ${missing.join(', ')}; what needs them is skipped or runs as plain processes (try: ${command})`,
  )
}

function apt(...args) {
  // Debian's docker-registry and others must not start daemons on a developer's machine.
  const env = { ...process.env, DEBIAN_FRONTEND: 'noninteractive', RUNLEVEL: '1' }
  const result = spawnSync('apt-get', ['-qq', '-o', 'DPkg::Lock::Timeout=300', ...args], {
    stdio: ['ignore', 'ignore', 'pipe'],
    env,
  })
  return result.status === 0
}

function onPath(program) {
  // npm puts node_modules/.bin first, where a package has an "nft" that is no packet filter.
  const given = (process.env.PATH ?? '').split(delimiter).filter((folder) => !folder.includes('node_modules'))
  const folders = [...given, '/usr/sbin', '/sbin', '/usr/bin', '/bin']
  return folders.some((folder) => isExecutable(join(folder, program)))
}

function isExecutable(file) {
  try {
    accessSync(file, constants.X_OK)
    return true
  } catch {
    return false
  }
}

function say(text) {
  process.stderr.write(`set-up: ${text}\n`)
}

function fail(message, hint) {
  process.stderr.write(`${message}\n  ${hint}\n`)
  process.exit(1)
}
