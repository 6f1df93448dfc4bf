import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { setTimeout as sleep } from 'node:timers/promises'
import type { Service } from '@fairlead/kube/types/core-v1'
import type { Endpoint, EndpointSlice } from '@fairlead/kube/types/discovery-v1'
import { serviceNameLabel } from './service-ports.ts'
import type { ObjectSource } from './service-table.ts'

/** An informer by hand. */
export interface MemorySource<T> extends ObjectSource<T> {
  put(object: T): void
  delete(object: T): void
}

interface Named {
  metadata?: { namespace?: string | undefined; name?: string | undefined } | undefined
}

export function createMemorySource<T extends Named>(initial: readonly T[] = []): MemorySource<T> {
  const objects = new Map<string, T>()
  const handlers: ((event: 'add' | 'update' | 'delete', object: T, old?: T) => void)[] = []
  const keyOf = ({ metadata }: T): string => `${metadata?.namespace}/${metadata?.name}`
  for (const object of initial) objects.set(keyOf(object), object)
  return {
    on(handler) {
      handlers.push(handler)
      for (const object of objects.values()) handler('add', object)
    },
    put(object) {
      const old = objects.get(keyOf(object))
      objects.set(keyOf(object), object)
      for (const handler of handlers) handler(old === undefined ? 'add' : 'update', object, old)
    },
    delete(object) {
      objects.delete(keyOf(object))
      for (const handler of handlers) handler('delete', object)
    },
  }
}

export function makeService(name: string, spec: NonNullable<Service['spec']>, namespace = 'shop'): Service {
  const creationTimestamp = '2026-01-01T00:00:00Z'
  return { apiVersion: 'v1', kind: 'Service', metadata: { name, namespace, creationTimestamp }, spec }
}

export function makeSlice(
  service: string,
  ports: NonNullable<EndpointSlice['ports']>,
  endpoints: readonly (string | Endpoint)[],
  namespace = 'shop',
): EndpointSlice {
  return {
    metadata: { name: `${service}-1`, namespace, labels: { [serviceNameLabel]: service } },
    addressType: 'IPv4',
    ports,
    endpoints: endpoints.map((endpoint) =>
      typeof endpoint === 'string' ? { addresses: [endpoint], conditions: { ready: true } } : endpoint,
    ),
  }
}

/** Polls until `probe` returns something other than undefined and false. */
export async function eventually<T>(
  probe: () => T | undefined | false | Promise<T | undefined | false>,
  withinMs = 30_000,
): Promise<T> {
  const deadline = performance.now() + withinMs
  let failure: unknown
  for (;;) {
    try {
      const value = await probe()
      if (value !== undefined && value !== false) return value
    } catch (error) {
      failure = error
    }
    if (performance.now() > deadline) throw new Error('Cannot see the expected state in time', { cause: failure })
    await sleep(10)
  }
}

/** A program that ends when it is disposed. */
export interface Program extends AsyncDisposable {
  /** Everything printed so far. */
  readonly output: string
  /** Resolves with the whole output when the program ends by itself. */
  readonly ended: Promise<string>
  /** Tells it something, when it was started for that. */
  write(text: string): void
}

/** Starts Node with `code`, in a network namespace when one is given. */
export function startNode(
  code: string,
  options: {
    netnsPath?: string | undefined
    env?: Record<string, string> | undefined
    uid?: number | undefined
    /** Whether it is going to be told something. */
    stdin?: boolean | undefined
  } = {},
): Program {
  const { netnsPath, env, uid, stdin = false } = options
  const node = [process.execPath, '--input-type=module', '--eval', code]
  const command = netnsPath === undefined ? node : ['nsenter', `--net=${netnsPath}`, ...node]
  const [file = '', ...args] = command
  const child = spawn(file, args, {
    env: { ...process.env, ...env },
    stdio: [stdin ? 'pipe' : 'ignore', 'pipe', 'pipe'],
    ...(uid === undefined ? {} : { uid, gid: uid }),
  })
  let output = ''
  for (const stream of [child.stdout, child.stderr]) stream?.setEncoding('utf8').on('data', (text) => (output += text))
  const ended = once(child, 'close').then(() => output)
  return {
    get output() {
      return output
    },
    ended,
    write: (text) => void child.stdin?.write(text),
    async [Symbol.asyncDispose]() {
      child.kill('SIGKILL')
      await ended
    },
  }
}
