import type { ResolvedImage } from '../layout/layout.ts'
import type { ContainerMount, ContainerResources, ContainerSecurity } from './config.ts'
import type { ContainerSession } from './session.ts'

/** A container to make, in terms every runtime understands. */
export interface ContainerSpec {
  /** Unique; letters, digits, `_`, `-`, `.`. */
  readonly id: string
  readonly image: ResolvedImage
  /** Log file in the CRI format: `<time> <stdout|stderr> <F|P> <text>`. */
  readonly logPath: string
  readonly command?: readonly string[] | undefined
  readonly args?: readonly string[] | undefined
  readonly env?: Readonly<Record<string, string>> | undefined
  readonly cwd?: string | undefined
  /** In place of the image's user: `uid`, `uid:gid` or names. */
  readonly user?: string | undefined
  /** Groups besides those the user has. */
  readonly additionalGids?: readonly number[] | undefined
  /** The groups its image gives the user do not count. Default false. */
  readonly ignoresImageGroups?: boolean | undefined
  readonly hostname?: string | undefined
  readonly mounts?: readonly ContainerMount[] | undefined
  readonly resources?: ContainerResources | undefined
  readonly security?: ContainerSecurity | undefined
  /** Network namespace to join, or `host`. Default: a new one with nothing but a loopback device. */
  readonly networkNamespace?: string | undefined
  /** Path below the root of each cgroup hierarchy. */
  readonly cgroupPath?: string | undefined
  readonly sysctls?: Readonly<Record<string, string>> | undefined
  /** Its input stays open for {@link ContainerRuntime.attach}. Default false: it is at its end from the start. */
  readonly stdin?: boolean | undefined
  /** The end of the first session with input is the end of its input. Default false. */
  readonly stdinOnce?: boolean | undefined
  /** It sits at a terminal. Default false. */
  readonly tty?: boolean | undefined
  /** Process namespace to join, or `host`. Default: a new one. Ignored where processes are not kept apart. */
  readonly pidNamespace?: string | undefined
  /** Namespace of shared memory to join, or `host`. Default: a new one. Ignored as above. */
  readonly ipcNamespace?: string | undefined
}

/** Namespaces for several containers, as paths for their {@link ContainerSpec}. */
export interface SharedNamespaces {
  readonly ipcNamespace: string
  readonly pidNamespace?: string | undefined
  /** To be mounted at `/dev/shm`. */
  readonly shmDir: string
}

/** Whom a container runs as. */
export interface ContainerUser {
  readonly uid: number
  readonly gid: number
  /** All its groups, `gid` among them. */
  readonly gids: readonly number[]
}

/** What is known of a container. Times in milliseconds since 1970. */
export interface ContainerState {
  readonly id: string
  readonly status: 'created' | 'running' | 'exited'
  /** Of the container's first process, as the host sees it. */
  readonly pid?: number | undefined
  readonly startedAt?: number | undefined
  readonly finishedAt?: number | undefined
  /** 128 + number for a signal. Missing while it runs; 137 when the container was lost with its monitor. */
  readonly exitCode?: number | undefined
  readonly oomKilled?: boolean | undefined
  /** Whom its first process runs as; undefined where it has no user of its own. */
  readonly user?: ContainerUser | undefined
  /** The process that owns its output and exit code is gone: stop it and start another. */
  readonly isUnsupervised?: boolean | undefined
}

/** A program to run inside a running container. */
export interface ExecOptions {
  readonly args: readonly string[]
  /** The program is killed after this long. Default 60,000. */
  readonly timeoutMs?: number | undefined
  /** Output beyond this is dropped. Default 1 MiB. */
  readonly maxOutputBytes?: number | undefined
  readonly signal?: AbortSignal | undefined
}

/** A program to run inside a running container with its streams at hand. */
export interface SessionOptions {
  readonly args: readonly string[]
  /** Default false: its input is at its end from the start. */
  readonly stdin?: boolean | undefined
  /** Default false. */
  readonly tty?: boolean | undefined
}

/** How a program in a container ended; `exitCode` is undefined when it was stopped for taking too long. */
export interface ExecResult {
  readonly exitCode?: number | undefined
  /** Standard output and standard error, as they came. */
  readonly output: string
}

/**
 * Runs containers that outlive this process: another one opened on the same directory finds them with {@link list} and
 * {@link state}. All methods may be called for different containers at once.
 */
export interface ContainerRuntime {
  /** Whether containers are isolated, or plain processes of this machine. */
  readonly kind: 'containers' | 'processes'
  /** Name and version, such as `runc://1.1.5`. */
  readonly version: string
  /** Unpacks the layers of an image ahead of {@link create}. */
  prepare(image: ResolvedImage): Promise<void>
  /** Makes the files of an image readable below `dir`, or elsewhere; returns where. What is there already stays. */
  mountImage(image: ResolvedImage, dir: string): Promise<string>
  /** Makes the container; its program waits for {@link start}. */
  create(spec: ContainerSpec): Promise<void>
  start(id: string): Promise<void>
  /** Sends a signal to the container's first process, for `SIGKILL` to all; nothing happens when it has ended. */
  kill(id: string, signal: NodeJS.Signals | number): Promise<void>
  /**
   * Gives a running container other limits; those left out stay. Rejects with `FAIRLEAD_OCI_RUNTIME_COMMAND` when the
   * kernel does not take them. Where processes have no limits nothing happens.
   */
  update(id: string, resources: ContainerResources): Promise<void>
  /** Folder of what a container writes beside its image; undefined where that cannot be told apart. */
  writableDir(id: string): string | undefined
  /** Undefined for an unknown container. */
  state(id: string): Promise<ContainerState | undefined>
  exec(id: string, options: ExecOptions): Promise<ExecResult>
  /** Starts a program; rejects with `FAIRLEAD_OCI_EXEC` when it could not be started. */
  openExec(id: string, options: SessionOptions): Promise<ContainerSession>
  /** Joins the container's own streams from now on. Rejects with `FAIRLEAD_OCI_ATTACH` when they cannot be reached. */
  attach(id: string, options: { readonly stdin: boolean }): Promise<ContainerSession>
  /** Makes the log continue in a new file at its path, after the old one was renamed. */
  reopenLog(id: string): Promise<void>
  /** Ends the container if it runs and removes all there is of it but its log. Unknown ones are ignored. */
  delete(id: string): Promise<void>
  list(): Promise<readonly string[]>
  /** Calls `listener` with the id of each container that ends, this process's or adopted; returns what ends that. */
  onExit(listener: (id: string) => void): () => void
  /**
   * Makes namespaces that several containers join, kept in `dir`; those that are there already are given back. Undefined
   * where processes are not kept apart.
   */
  openNamespaces(dir: string, options: { readonly pids: boolean }): Promise<SharedNamespaces | undefined>
  /** Ends the namespaces in `dir`; unknown ones are ignored. */
  closeNamespaces(dir: string): Promise<void>
  /** Limits what all containers below a parent cgroup have together; what is left out is not limited. */
  limitCgroup(path: string, resources: ContainerResources): Promise<void>
  /** Removes what is left of a group of containers that shared a parent cgroup. */
  removeCgroup(path: string): Promise<void>
  /** Removes unpacked layers no image of `images` uses and nobody used for `unusedMs`. */
  prune(images: readonly ResolvedImage[], unusedMs: number): Promise<void>
  /** Ends the work of this process; containers go on. */
  close(): Promise<void>
}
