import type { ResolvedImage } from '../layout/layout.ts'
import type { ContainerMount, ContainerResources, ContainerSecurity } from './config.ts'

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
  readonly hostname?: string | undefined
  readonly mounts?: readonly ContainerMount[] | undefined
  readonly resources?: ContainerResources | undefined
  readonly security?: ContainerSecurity | undefined
  /** Network namespace to join, or `host`. Default: a new one with nothing but a loopback device. */
  readonly networkNamespace?: string | undefined
  /** Path below the root of each cgroup hierarchy. */
  readonly cgroupPath?: string | undefined
  readonly sysctls?: Readonly<Record<string, string>> | undefined
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
  /** Makes the container; its program waits for {@link start}. */
  create(spec: ContainerSpec): Promise<void>
  start(id: string): Promise<void>
  /** Sends a signal to the container's first process, for `SIGKILL` to all; nothing happens when it has ended. */
  kill(id: string, signal: NodeJS.Signals | number): Promise<void>
  /** Undefined for an unknown container. */
  state(id: string): Promise<ContainerState | undefined>
  exec(id: string, options: ExecOptions): Promise<ExecResult>
  /** Makes the log continue in a new file at its path, after the old one was renamed. */
  reopenLog(id: string): Promise<void>
  /** Ends the container if it runs and removes all there is of it but its log. Unknown ones are ignored. */
  delete(id: string): Promise<void>
  list(): Promise<readonly string[]>
  /** Calls `listener` with the id of each container that ends, this process's or adopted; returns what ends that. */
  onExit(listener: (id: string) => void): () => void
  /** Removes what is left of a group of containers that shared a parent cgroup. */
  removeCgroup(path: string): Promise<void>
  /** Removes unpacked layers no image of `images` uses and nobody used for `unusedMs`. */
  prune(images: readonly ResolvedImage[], unusedMs: number): Promise<void>
  /** Ends the work of this process; containers go on. */
  close(): Promise<void>
}
