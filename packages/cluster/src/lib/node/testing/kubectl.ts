import { spawn } from 'node:child_process'
import { join } from 'node:path'

import { serveKubectl } from '../../apiserver/test-kubectl.ts'
import type { World } from './world.ts'

/** How a command ended. */
export interface Ran {
  readonly code: number | null
  readonly stdout: Buffer
  readonly stderr: string
}

export interface RunOptions {
  readonly input?: Buffer | string | undefined
  readonly env?: Record<string, string> | undefined
  readonly timeoutMs?: number | undefined
}

/** The real kubectl on the server of a world. */
export interface Kubectl {
  readonly kubeconfig: string
  readonly env: Record<string, string>
  run(args: readonly string[], options?: RunOptions): Promise<Ran>
}

/** Serves the world's API by HTTPS and points a kubeconfig at it. */
export async function openKubectl(world: World): Promise<Kubectl> {
  const kubeconfig = join(world.dir, 'kubeconfig')
  await serveKubectl(world.server, world.dir, kubeconfig)
  const env = { PATH: process.env['PATH'] ?? '', HOME: world.dir, KUBECONFIG: kubeconfig }
  return {
    kubeconfig,
    env,
    run: (args, options) => run('kubectl', args, { ...options, env: { ...env, ...options?.env } }),
  }
}

/** Runs a program to its end with its output gathered. */
export function run(file: string, args: readonly string[], options: RunOptions = {}): Promise<Ran> {
  const { promise, resolve, reject } = Promise.withResolvers<Ran>()
  const child = spawn(file, args, {
    stdio: [options.input === undefined ? 'ignore' : 'pipe', 'pipe', 'pipe'],
    env: options.env,
    timeout: options.timeoutMs ?? 30_000,
    killSignal: 'SIGKILL',
  })
  const out: Buffer[] = []
  const err: Buffer[] = []
  child.stdout?.on('data', (chunk: Buffer) => out.push(chunk))
  child.stderr?.on('data', (chunk: Buffer) => err.push(chunk))
  child.on('error', reject)
  child.on('close', (code) => resolve({ code, stdout: Buffer.concat(out), stderr: Buffer.concat(err).toString() }))
  child.stdin?.on('error', () => {})
  child.stdin?.end(options.input)
  return promise
}
