import { existsSync, readFileSync } from 'node:fs'
import { join } from 'node:path'

/** Where this process runs, as far as it can be told from inside. */
export interface Surroundings {
  /** What schedules it. */
  readonly platform: 'kubernetes' | 'lambda' | 'cloud-run' | 'ecs' | undefined
  /** What made the container; undefined where it cannot be told, or there is none. */
  readonly runtime: 'docker' | 'podman' | 'containerd' | 'cri-o' | undefined
  readonly isContainer: boolean
  /** 64 hex digits; undefined inside of a cgroup namespace that hides it. */
  readonly containerId: string | undefined
}

export interface DetectOptions {
  /** Default `process.env`. */
  readonly env?: Readonly<Record<string, string | undefined>> | undefined
  /** Where `proc`, `run` and `.dockerenv` are found, for tests. Default `/`. */
  readonly root?: string | undefined
}

/** Looks at files and variables that container runtimes and platforms leave. Asks no network. */
export function detectSurroundings({ env = process.env, root = '/' }: DetectOptions = {}): Surroundings {
  const cgroup = readText(join(root, 'proc/self/cgroup'))
  const mounts = readText(join(root, 'proc/self/mountinfo'))
  const platform = detectPlatform(env, root)
  const runtime = detectRuntime(env, root, cgroup, mounts)
  const containerId = findContainerId(cgroup, mounts)
  return {
    platform,
    runtime,
    isContainer: platform !== undefined || runtime !== undefined || containerId !== undefined,
    containerId,
  }
}

function detectPlatform(env: NonNullable<DetectOptions['env']>, root: string): Surroundings['platform'] {
  if (env['AWS_LAMBDA_FUNCTION_NAME']) return 'lambda'
  // Services have the first, jobs the second.
  if (env['K_SERVICE'] || env['CLOUD_RUN_JOB']) return 'cloud-run'
  if (env['ECS_CONTAINER_METADATA_URI_V4'] || env['ECS_CONTAINER_METADATA_URI']) return 'ecs'
  const hasAccount = existsSync(join(root, 'var/run/secrets/kubernetes.io/serviceaccount'))
  return env['KUBERNETES_SERVICE_HOST'] || hasAccount ? 'kubernetes' : undefined
}

function detectRuntime(
  env: NonNullable<DetectOptions['env']>,
  root: string,
  cgroup: string,
  mounts: string,
): Surroundings['runtime'] {
  // Podman and CRI-O both leave the first file; Podman says who it is in it, or in the variable.
  const podmanFile = join(root, 'run/.containerenv')
  if (env['container'] === 'podman' || /^engine="podman/m.test(readText(podmanFile))) return 'podman'
  if (/crio-[0-9a-f]{64}|\/containers\/storage\/overlay-containers\/.*\/userdata/.test(cgroup + mounts))
    return existsSync(podmanFile) && !/crio-/.test(cgroup + mounts) ? 'podman' : 'cri-o'
  if (existsSync(join(root, '.dockerenv')) || /[/-]docker[/-]|\/docker\/containers\//.test(cgroup + mounts))
    return 'docker'
  return /cri-containerd|\/containerd\//.test(cgroup + mounts) ? 'containerd' : undefined
}

/** In the cgroup's path on version 1; on version 2 behind a namespace in the mounts of /etc/hostname and its like. */
function findContainerId(cgroup: string, mounts: string): string | undefined {
  const inCgroup = /[/:-]([0-9a-f]{64})(?:\.scope)?$/m.exec(cgroup)?.[1]
  if (inCgroup !== undefined) return inCgroup
  const mount = mounts.split('\n').find((line) => /\/etc\/(hostname|hosts|resolv\.conf) /.test(line)) ?? ''
  return /\/(?:containers|overlay-containers)\/([0-9a-f]{64})\//.exec(mount)?.[1]
}

function readText(file: string): string {
  try {
    return readFileSync(file, 'utf8')
  } catch {
    return ''
  }
}
