import type { CgroupLayout } from '../cgroup.ts'

/** One step from a plain process to a contained one. */
export interface StepPlan {
  readonly title: string
  /** Why it is done, in a sentence. */
  readonly why: string
  /** What a person would type; what happens is this, up to paths. */
  readonly commands: readonly string[]
  /** Lines of the script that end in the next stage. `$NEXT` is the command that goes on there. */
  readonly script: readonly string[]
}

/** What the steps need to know. */
export interface StepSettings {
  readonly id: string
  /** Mounted root file system of the image. */
  readonly rootDir: string
  readonly layout: CgroupLayout
  readonly cgroupPath: string
  readonly memoryBytes: number
  readonly pids: number
  readonly uid: number
  readonly gid: number
  /** Dynamic loader of this machine, without symbolic links, and the folder of its libraries. */
  readonly loader: string
  readonly libraries: string
  /** Absolute paths of programs of this machine, without symbolic links. */
  readonly tools: Readonly<Record<'sh' | 'env' | 'mount' | 'rmdir' | 'setpriv' | 'umount', string>>
}

/**
 * The steps. Each is a program of util-linux that changes one thing and then becomes the next stage, so it is one process that
 * is contained more and more. From the new root on no program of the machine can be found any more, except over a working
 * directory that was left in the old one: so they are started through the loader, by relative paths.
 */
export function planSteps(settings: StepSettings): StepPlan[] {
  const { id, rootDir, uid, gid } = settings
  return [
    {
      title: 'a plain process',
      why: 'What the machine gives any program that root starts.',
      commands: [],
      script: [],
    },
    {
      title: 'mount namespace',
      why: 'A copy of the table of mounts: what is mounted from here on is not seen outside.',
      commands: ['unshare --mount --propagation private'],
      script: ['exec unshare --mount --propagation private $NEXT'],
    },
    {
      title: 'UTS namespace',
      why: 'A host name of its own.',
      commands: ['unshare --uts', `hostname ${id}`],
      script: [`exec unshare --uts sh -c 'hostname ${id}; exec "$@"' sh $NEXT`],
    },
    {
      title: 'IPC namespace',
      why: 'Shared memory and message queues of its own.',
      commands: ['unshare --ipc'],
      script: ['exec unshare --ipc $NEXT'],
    },
    {
      title: 'network namespace',
      why: 'Network devices, addresses, routes and ports of its own: at first a loopback device alone.',
      commands: ['unshare --net'],
      script: ['exec unshare --net $NEXT'],
    },
    cgroupStep(settings),
    {
      title: 'cgroup namespace',
      why: 'The control group it is in looks like the root of all of them.',
      commands: ['unshare --cgroup'],
      script: ['exec unshare --cgroup $NEXT'],
    },
    {
      title: 'process namespace',
      why: 'The next child is process 1 and sees its own children alone; /proc has to be mounted anew to show that.',
      commands: ['unshare --pid --fork --mount-proc'],
      script: ['exec unshare --pid --fork --kill-child --mount-proc $NEXT'],
    },
    {
      title: 'root file system',
      why: "The image, mounted as an overlay, becomes the root, and the machine's files are let go of.",
      commands: [
        `cd ROOT && mount --bind . . && mount -t proc proc proc`,
        'pivot_root . .old',
        'umount -l /.old',
        'mount -o remount,bind,ro /',
      ],
      script: [
        `mount --bind ${quote(rootDir)} ${quote(rootDir)}`,
        `cd ${quote(rootDir)}`,
        'mkdir -p proc dev .old',
        'mount -t proc -o nosuid,noexec,nodev proc proc',
        'mount -t tmpfs -o nosuid,mode=755 tmpfs dev',
        'for name in null zero full random urandom; do : > dev/$name; mount --bind /dev/$name dev/$name; done',
        'pivot_root . .old',
        // From here on programs are found below the working directory only.
        'cd /.old',
        // The shell asks where it is, which has no name any more but this one.
        'export PWD=/proc/self/cwd',
        `$LOADED .${settings.tools.umount} -l /.old`,
        `$LOADED .${settings.tools.rmdir} /.old`,
        `$LOADED .${settings.tools.mount} -o remount,bind,ro /`,
        'exec $INSIDE',
      ],
    },
    {
      title: 'bounding set',
      why: 'Capabilities that neither this process nor any program it starts can have again. Three stay, for the next step.',
      commands: ['setpriv --inh-caps=-all --bounding-set=-all,+setuid,+setgid,+setpcap'],
      script: [
        `exec $LOADED .${settings.tools.setpriv} --inh-caps=-all --bounding-set=-all,+setuid,+setgid,+setpcap $INSIDE`,
      ],
    },
    {
      title: 'user',
      why: 'The user of the image; leaving root behind gives up the capabilities.',
      commands: [`setpriv --reuid=${uid} --regid=${gid} --clear-groups --bounding-set=-all`],
      script: [
        `exec $LOADED .${settings.tools.setpriv} --reuid=${uid} --regid=${gid} --clear-groups --bounding-set=-all $INSIDE`,
      ],
    },
    {
      title: 'no new privileges',
      why: 'Set-user-id programs and file capabilities give nothing any more.',
      commands: ['setpriv --no-new-privs'],
      script: [`exec $LOADED .${settings.tools.setpriv} --no-new-privs $INSIDE`],
    },
  ]
}

function cgroupStep({ layout, cgroupPath, memoryBytes, pids }: StepSettings): StepPlan {
  const base = {
    title: 'control group',
    why: 'Limits: the kernel kills what takes more memory, and refuses to make more processes.',
  }
  if (layout === 'v2') {
    const dir = `/sys/fs/cgroup${cgroupPath}`
    const commands = [
      `mkdir ${dir}`,
      `echo ${memoryBytes} > ${dir}/memory.max`,
      `echo ${pids} > ${dir}/pids.max`,
      `echo $$ > ${dir}/cgroup.procs`,
    ]
    // The controllers may be off below the root; this is no error of the lesson.
    const enable = 'echo "+memory +pids" > /sys/fs/cgroup/cgroup.subtree_control 2>/dev/null || :'
    return { ...base, commands, script: [enable, ...commands, 'exec $NEXT'] }
  }
  const unified = `/sys/fs/cgroup/unified${cgroupPath}`
  const dirs = { memory: `/sys/fs/cgroup/memory${cgroupPath}`, pids: `/sys/fs/cgroup/pids${cgroupPath}` }
  const commands = [
    `mkdir ${dirs.memory} ${dirs.pids}`,
    `echo ${memoryBytes} > ${dirs.memory}/memory.limit_in_bytes`,
    `echo ${pids} > ${dirs.pids}/pids.max`,
    `echo $$ | tee ${dirs.memory}/cgroup.procs > ${dirs.pids}/cgroup.procs`,
    // Beside version 1 the tree of version 2 has no controllers for this; it says who belongs together.
    ...(layout === 'hybrid' ? [`mkdir ${unified}`, `echo $$ > ${unified}/cgroup.procs`] : []),
  ]
  return { ...base, commands, script: [...commands, 'exec $NEXT'] }
}

/** The script all stages run; its argument is the number of the stage that was reached. */
export function renderScript(steps: readonly StepPlan[], path: string, settings: StepSettings): string {
  const { loader, libraries, tools } = settings
  const cases = steps.map((_, stage) => {
    const next = steps[stage + 1]?.script ?? [`eval "exec $LOADED .${tools.env} $GO 3<&- 4>&-"`]
    return `${stage})\n  ${next.join('\n  ')}\n  ;;`
  })
  return `set -eu
stage=$1
LOADED=".${loader} --library-path .${libraries}"
NEXT="${tools.sh} ${path} $((stage + 1))"
INSIDE="$LOADED .${tools.sh} .${path} $((stage + 1))"
echo "$stage" >&4
read -r GO <&3
[ "$GO" != end ] || exit 0
case $stage in
${cases.join('\n')}
esac
`
}

export function quote(text: string): string {
  return `'${text.replaceAll("'", `'\\''`)}'`
}
