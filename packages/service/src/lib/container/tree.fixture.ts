import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'

/** Files below a temporary folder that stands for `/`. `using` removes it. */
export interface Tree extends Disposable {
  readonly root: string
  write(path: string, text: string): void
}

export function createTree(files: Readonly<Record<string, string>>): Tree {
  const root = mkdtempSync(join(tmpdir(), 'fairlead-tree-'))
  const write = (path: string, text: string): void => {
    mkdirSync(dirname(join(root, path)), { recursive: true })
    writeFileSync(join(root, path), text)
  }
  for (const [path, text] of Object.entries(files)) write(path, text)
  return { root, write, [Symbol.dispose]: () => rmSync(root, { recursive: true }) }
}

export const dockerId = '3f1c9a4be5d27f0684c1be90a2d37e5f6b8c0d1e2f3a4b5c6d7e8f9012345678'

const v2Mount = '31 23 0:26 / /sys/fs/cgroup ro,nosuid,nodev,noexec,relatime - cgroup2 cgroup rw,nsdelegate\n'
const slice = 'kubepods.slice/kubepods-burstable.slice/kubepods-burstable-pod1.slice'
const v1Mount = (controller: string, root: string): string =>
  `40 31 0:33 ${root} /sys/fs/cgroup/${controller} ro,nosuid,nodev,noexec,relatime master:11 - cgroup cgroup rw,${controller}\n`

type Place = 'dockerV2' | 'kubernetesBurstableV2' | 'dockerV1' | 'hybrid' | 'moved' | 'none'

/** The kinds of places a service runs in, as the kernel shows them there. */
export const trees: Readonly<Record<Place, Readonly<Record<string, string>>>> = {
  /** `docker run --cpus 1.5 --memory 512m --memory-swap 768m --pids-limit 100`, in its own namespace. */
  dockerV2: {
    '.dockerenv': '',
    'proc/self/cgroup': '0::/\n',
    'proc/self/mountinfo': `${v2Mount}612 600 254:1 /var/lib/docker/containers/${dockerId}/hostname /etc/hostname rw - ext4 /dev/vda1 rw\n`,
    'sys/fs/cgroup/cpu.max': '150000 100000\n',
    'sys/fs/cgroup/cpu.stat':
      'usage_usec 2500000\nuser_usec 2000000\nsystem_usec 500000\nnr_periods 40\nnr_throttled 7\nthrottled_usec 350000\n',
    'sys/fs/cgroup/cpuset.cpus.effective': '0-3,8\n',
    'sys/fs/cgroup/memory.max': '536870912\n',
    'sys/fs/cgroup/memory.high': 'max\n',
    'sys/fs/cgroup/memory.current': '104857600\n',
    'sys/fs/cgroup/memory.stat': 'anon 60000000\nfile 40000000\ninactive_file 30000000\nactive_file 10000000\n',
    'sys/fs/cgroup/memory.events': 'low 0\nhigh 0\nmax 12\noom 2\noom_kill 1\noom_group_kill 0\n',
    'sys/fs/cgroup/memory.swap.max': '268435456\n',
    'sys/fs/cgroup/memory.swap.current': '4096\n',
    'sys/fs/cgroup/pids.max': '100\n',
    'sys/fs/cgroup/pids.current': '11\n',
    'sys/fs/cgroup/cpu.pressure':
      'some avg10=1.00 avg60=0.50 avg300=0.10 total=2500000\nfull avg10=0.00 avg60=0.00 avg300=0.00 total=500000\n',
  },
  /** A burstable pod seen from the host's namespace: the container has no limit, its pod has. */
  kubernetesBurstableV2: {
    'proc/self/cgroup': `0::/${slice}/cri-containerd-${dockerId}.scope\n`,
    'proc/self/mountinfo': v2Mount,
    [`sys/fs/cgroup/${slice}/cri-containerd-${dockerId}.scope/memory.max`]: 'max\n',
    [`sys/fs/cgroup/${slice}/cri-containerd-${dockerId}.scope/memory.high`]: '200000000\n',
    [`sys/fs/cgroup/${slice}/cri-containerd-${dockerId}.scope/cpu.max`]: 'max 100000\n',
    [`sys/fs/cgroup/${slice}/memory.max`]: '268435456\n',
    [`sys/fs/cgroup/${slice}/cpu.max`]: '50000 100000\n',
    'sys/fs/cgroup/kubepods.slice/memory.max': '8589934592\n',
    'sys/fs/cgroup/cgroup.controllers': 'cpuset cpu io memory pids\n',
  },
  /** Docker on version 1 without a namespace: the path is the host's, and so is the root of the mounts. */
  dockerV1: {
    'proc/self/cgroup': `12:cpu,cpuacct:/docker/${dockerId}\n4:memory:/docker/${dockerId}\n3:pids:/docker/${dockerId}\n2:cpuset:/docker/${dockerId}\n1:name=systemd:/docker/${dockerId}\n`,
    'proc/self/mountinfo':
      `35 31 0:30 /docker/${dockerId} /sys/fs/cgroup/cpu,cpuacct ro,relatime - cgroup cgroup rw,cpu,cpuacct\n` +
      ['memory', 'pids', 'cpuset'].map((name) => v1Mount(name, `/docker/${dockerId}`)).join(''),
    'sys/fs/cgroup/cpu,cpuacct/cpu.cfs_quota_us': '25000\n',
    'sys/fs/cgroup/cpu,cpuacct/cpu.cfs_period_us': '100000\n',
    'sys/fs/cgroup/cpu,cpuacct/cpu.stat': 'nr_periods 10\nnr_throttled 3\nthrottled_time 450000000\n',
    'sys/fs/cgroup/cpu,cpuacct/cpuacct.usage': '1250000000\n',
    'sys/fs/cgroup/cpuset/cpuset.cpus': '2\n',
    'sys/fs/cgroup/memory/memory.limit_in_bytes': '9223372036854771712\n',
    'sys/fs/cgroup/memory/memory.memsw.limit_in_bytes': '268435456\n',
    'sys/fs/cgroup/memory/memory.memsw.usage_in_bytes': '53477376\n',
    'sys/fs/cgroup/memory/memory.usage_in_bytes': '52428800\n',
    // The limit was set on the parent, which cannot be seen from here.
    'sys/fs/cgroup/memory/memory.stat':
      'cache 9\ninactive_file 1\nhierarchical_memory_limit 134217728\ntotal_inactive_file 12428800\n',
    'sys/fs/cgroup/memory/memory.failcnt': '5\n',
    'sys/fs/cgroup/memory/memory.oom_control': 'oom_kill_disable 0\nunder_oom 0\noom_kill 2\n',
    'sys/fs/cgroup/pids/pids.max': 'max\n',
    'sys/fs/cgroup/pids/pids.current': '9\n',
    'proc/pressure/cpu': 'some avg10=0.00 avg60=0.00 avg300=0.00 total=1000000\n',
  },
  /** systemd's hybrid layout: version 1 counts, and an empty version 2 is mounted beside it. */
  hybrid: {
    'proc/self/cgroup': '4:memory:/system.slice/orders.service\n1:name=systemd:/x\n0::/system.slice/orders.service\n',
    'proc/self/mountinfo': `41 31 0:38 / /sys/fs/cgroup/unified rw,relatime - cgroup2 cgroup2 rw\n${v1Mount('memory', '/')}`,
    'sys/fs/cgroup/memory/system.slice/orders.service/memory.limit_in_bytes': '300000000\n',
    'sys/fs/cgroup/memory/system.slice/memory.limit_in_bytes': '200000000\n',
    'sys/fs/cgroup/unified/system.slice/orders.service/cpu.max': '200000 100000\n',
  },
  /** Moved out of its namespace after the start, and some files may not be read. */
  moved: {
    'proc/self/cgroup': '0::/../other\n',
    'proc/self/mountinfo': v2Mount,
    'sys/fs/cgroup/memory.max': '134217728\n',
    'sys/fs/cgroup/cpu.max': '\n',
    'sys/fs/cgroup/cpuset.cpus.effective': '\n',
  },
  none: {},
}
