import { existsSync } from 'node:fs'
import { join, posix } from 'node:path'

/** Controllers this package reads. */
export type Controller = 'cpu' | 'cpuacct' | 'cpuset' | 'memory' | 'pids' | 'io'

/** Where a controller's files of this process are. */
export interface ControllerPath {
  readonly version: 1 | 2
  /** Its own folder first, then those above it that can be seen, at last the mount point: limits of each apply. */
  readonly folders: readonly string[]
}

interface Mount {
  readonly version: 1 | 2
  /** The part of the hierarchy that is mounted. */
  readonly root: string
  readonly point: string
  readonly controllers: readonly string[]
}

/**
 * Finds the folders of a process's cgroups from /proc/self/cgroup and /proc/self/mountinfo (cgroups(7)). Version 1,
 * version 2, and hybrids of both (systemd mounts an empty version 2 beside version 1) are told apart per controller.
 */
export function findControllers(
  cgroupText: string,
  mountinfoText: string,
  root: string,
): ReadonlyMap<Controller, ControllerPath> {
  const memberships = parseMemberships(cgroupText)
  const mounts = parseMounts(mountinfoText)
  const found = new Map<Controller, ControllerPath>()
  for (const controller of ['cpu', 'cpuacct', 'cpuset', 'memory', 'pids', 'io'] as const) {
    const name = controller === 'io' ? 'blkio' : controller
    const first = mounts.find(({ version, controllers }) => version === 1 && controllers.includes(name))
    const mount = first ?? mounts.find(({ version }) => version === 2)
    const path = first === undefined ? memberships.get('') : memberships.get(name)
    if (mount === undefined || path === undefined) continue
    found.set(controller, { version: mount.version, folders: listFolders(mount, path, root) })
  }
  return found
}

/** `4:cpu,cpuacct:/docker/abc` by controller; the line `0::/path` of version 2 by the empty name. */
function parseMemberships(text: string): Map<string, string> {
  const paths = new Map<string, string>()
  for (const line of text.split('\n')) {
    const [, controllers, path] = /^\d+:([^:]*):(.*)$/.exec(line) ?? []
    if (controllers === undefined || path === undefined) continue
    for (const controller of controllers.split(',')) paths.set(controller, path)
  }
  return paths
}

/** `36 35 0:30 / /sys/fs/cgroup/memory rw,relatime - cgroup cgroup rw,memory` (proc_pid_mountinfo(5)). */
function parseMounts(text: string): Mount[] {
  const mounts: Mount[] = []
  for (const line of text.split('\n')) {
    const [before = '', after = ''] = line.split(' - ', 2)
    const [, , , root, point] = before.split(' ')
    const [type, , options = ''] = after.split(' ')
    if (root === undefined || point === undefined || (type !== 'cgroup' && type !== 'cgroup2')) continue
    const version = type === 'cgroup2' ? 2 : 1
    mounts.push({ version, root: unescape(root), point: unescape(point), controllers: options.split(',') })
  }
  return mounts
}

function listFolders(mount: Mount, path: string, root: string): string[] {
  const point = join(root, mount.point)
  const folders: string[] = []
  for (let below = pathBelow(mount.root, path); ; below = posix.dirname(below)) {
    const folder = join(point, below)
    // Inside of a cgroup namespace, and after a move, the path may name what cannot be seen from here.
    if (existsSync(folder)) folders.push(folder)
    if (below === '/') return folders
  }
}

/**
 * The path as seen from the mount point. In a container of version 1 without a namespace of its own the path is the
 * host's (`/docker/abc`), and so is the mount's root. `/..` in front: it lies outside of the namespace.
 */
function pathBelow(mountRoot: string, path: string): string {
  const clean = posix.normalize(`/${path}`)
  if (path.startsWith('/..') || clean === mountRoot) return '/'
  if (mountRoot === '/') return clean
  return clean.startsWith(`${mountRoot}/`) ? clean.slice(mountRoot.length) : '/'
}

/** Spaces and the like are octal there. */
function unescape(text: string): string {
  return text.replaceAll(/\\([0-7]{3})/g, (_, digits: string) => String.fromCharCode(Number.parseInt(digits, 8)))
}
