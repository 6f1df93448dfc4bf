// What a cluster leaves on the machine: namespaces, devices, rules, mounts, cgroups, processes, files outside its home.
// Everything is looked for by the names of one home, so clusters of others may run beside it.
import { execFile } from 'node:child_process'
import { createHash } from 'node:crypto'
import { existsSync, readdirSync, readFileSync, readlinkSync, realpathSync } from 'node:fs'
import { basename, dirname, join } from 'node:path'
import { setTimeout as pause } from 'node:timers/promises'

/** The names by which things on the machine belong to the clusters of one home. Taken before the home is removed. */
export interface Footprint {
  readonly home: string
  /** Of networks: devices, namespaces and tables carry them. */
  readonly networkIds: readonly string[]
  /** Hashes of the cluster's folders: control groups, folders below /run and sockets are named by them. */
  readonly hashes: readonly string[]
}

/** The footprint of the clusters in `home` (a `FAIRLEAD_HOME`, or the folder a cluster was started with). */
export function footprintOf(home: string): Footprint {
  const root = realOf(home)
  // What the default cluster would have, too: it may be gone already.
  const cluster = join(root, 'clusters', 'default')
  const usual = ['', 'network', 'node', 'node/runtime'].flatMap((name) => [join(cluster, name), join(root, name)])
  const folders = new Set([...usual, ...foldersIn(root, 5)])
  const spellings = [...folders].flatMap((folder) => [folder, home + folder.slice(root.length)])
  const hashes = [...new Set(spellings)].map((folder) => createHash('sha256').update(folder).digest('hex'))
  return { home: root, networkIds: hashes.map((hash) => hash.slice(0, 6)), hashes }
}

/** One line for each thing on the machine that belongs to the footprint. */
export async function findLeaks(footprint: Footprint): Promise<string[]> {
  const isOurs = createMatcher(footprint)
  return [
    ...listOf('/run/netns')
      .filter(isOurs)
      .map((name) => `network namespace ${name}`),
    ...listOf('/sys/class/net')
      .filter(isOurs)
      .map((name) => `network device ${name}`),
    ...(await tables()).filter(isOurs).map((name) => `nftables ${name}`),
    ...(await forwardRules()).filter(isOurs).map((rule) => `iptables rule ${rule}`),
    ...mountPoints()
      .filter((path) => isBelow(path, footprint.home))
      .map((path) => `mount ${path}`),
    ...controlGroups()
      .filter((path) => isOurs(basename(path)))
      .map((path) => `control group ${path}`),
    ...listOf('/run/fairlead')
      .filter(isOurs)
      .map((name) => `folder /run/fairlead/${name}`),
    ...processesOf(footprint),
  ]
}

/** Throws with all that is left once `withinMs` (default 20 s) are over: the kernel takes some things away a little later. */
export async function assertNoLeaks(footprint: Footprint, withinMs = 20_000): Promise<void> {
  const end = performance.now() + withinMs
  for (;;) {
    const leaks = await findLeaks(footprint)
    if (leaks.length === 0) return
    if (performance.now() > end) throw new Error(`The cluster of ${footprint.home} left behind:\n${leaks.join('\n')}`)
    await pause(100)
  }
}

/** True for names such as `fl94cbdb-005`, `fl94cbdbv005`, `fairlead-94cbdb-policy`, `fairlead-2d89398f`, `055f6751a280`. */
function createMatcher({ networkIds, hashes }: Footprint): (name: string) => boolean {
  return (name) =>
    networkIds.some((id) => name.includes(`fl${id}`) || name.includes(`fairlead-${id}`)) ||
    hashes.some((hash) => name === hash.slice(0, 12) || name === `fairlead-${hash.slice(0, 8)}`)
}

function tables(): Promise<string[]> {
  return linesOf('nft', ['list', 'tables'])
}

function forwardRules(): Promise<string[]> {
  return linesOf('iptables', ['-w', '2', '-S', 'FORWARD'])
}

/** What a tool of the system prints; nothing where it is not installed. Npm's folders have another program called `nft`. */
function linesOf(tool: string, args: readonly string[]): Promise<string[]> {
  const env = { PATH: '/usr/local/sbin:/usr/sbin:/sbin:/usr/local/bin:/usr/bin:/bin', LC_ALL: 'C.UTF-8' }
  return new Promise((resolve) => {
    execFile(tool, args, { env, timeout: 20_000 }, (error, stdout) =>
      resolve(error === null ? stdout.trim().split('\n') : []),
    )
  })
}

function mountPoints(): string[] {
  const lines = existsSync('/proc/self/mountinfo') ? readFileSync('/proc/self/mountinfo', 'utf8').split('\n') : []
  return lines.map((line) => (line.split(' ')[4] ?? '').replaceAll('\\040', ' '))
}

/** Top-level groups of every hierarchy (version 1) or of the one there is (version 2). */
function controlGroups(): string[] {
  const root = '/sys/fs/cgroup'
  return ['', ...listOf(root)].flatMap((name) => listOf(join(root, name)).map((group) => join(root, name, group)))
}

/** Processes that were started for the home: its path is among their arguments or is their FAIRLEAD_HOME. */
function processesOf({ home }: Footprint): string[] {
  return listOf('/proc').flatMap((pid) => {
    if (!/^\d+$/.test(pid) || Number(pid) === process.pid) return []
    const args = readProcess(pid, 'cmdline').split('\0')
    const mentions = args.some((arg) => arg.includes(`${home}/`)) || isBelow(directoryOf(pid), home)
    const isOurs = mentions || readProcess(pid, 'environ').includes(`FAIRLEAD_HOME=${home}\0`)
    return isOurs && args[0] !== '' ? [`process ${pid} ${args.join(' ').trim().slice(0, 200)}`] : []
  })
}

function readProcess(pid: string, file: string): string {
  try {
    return readFileSync(join('/proc', pid, file), 'utf8')
  } catch {
    // Gone meanwhile, or of another user.
    return ''
  }
}

function directoryOf(pid: string): string {
  try {
    return readlinkSync(join('/proc', pid, 'cwd'))
  } catch {
    return ''
  }
}

function isBelow(path: string, folder: string): boolean {
  return path === folder || path.startsWith(`${folder}/`)
}

function listOf(folder: string): string[] {
  try {
    return readdirSync(folder)
  } catch {
    return []
  }
}

function foldersIn(folder: string, depth: number): string[] {
  if (depth === 0 || basename(folder) === 'images') return []
  try {
    const found = readdirSync(folder, { withFileTypes: true }).filter((entry) => entry.isDirectory())
    return found.flatMap(({ name }) => [join(folder, name), ...foldersIn(join(folder, name), depth - 1)])
  } catch {
    return []
  }
}

/** The real path of a folder that may not exist: links of the part that does are followed. */
function realOf(path: string): string {
  return existsSync(path) || path === dirname(path) ? realpathSync(path) : join(realOf(dirname(path)), basename(path))
}
