import { isNotFound, type KubeClient, KubeError } from '@fairlead/kube'
import { createInformer } from '@fairlead/kube/cache'
import type { Pod } from '@fairlead/kube/types/core-v1'
import { appLabel, managedByLabel, managerName, serviceLabel } from '../render/labels.ts'

/** One line of a pod's output. */
export interface LogLine {
  readonly service: string
  readonly pod: string
  readonly text: string
}

export interface LogOptions {
  /** Name of an app or of a service; an app is looked for first. */
  readonly subject?: string | undefined
  /** Default: the namespace of the client. */
  readonly namespace?: string | undefined
  /** Lines from the end, per container. Default: all there are. */
  readonly tailLines?: number | undefined
  readonly signal?: AbortSignal | undefined
}

/** The lines that the pods of an app or service have written so far, in the order of time across pods. */
export async function readLogs(client: KubeClient, options: LogOptions = {}): Promise<LogLine[]> {
  const pods = await findPods(client, options)
  const lines = await Promise.all(pods.map((pod) => readPod(client, pod, options)))
  return lines
    .flat()
    .toSorted((a, b) => (a.time < b.time ? -1 : a.time > b.time ? 1 : 0))
    .map(({ line }) => line)
}

/**
 * Calls `onLine` for every line of the pods of an app or service, those that come later too, until `signal` aborts.
 * A container that is started again goes on where the one before ended.
 */
export async function followLogs(
  client: KubeClient,
  options: LogOptions & { readonly signal: AbortSignal },
  onLine: (line: LogLine) => void,
): Promise<void> {
  const { namespace = client.namespace, signal } = options
  const belongs = await matcher(client, options)
  const pods = createInformer(client.resource('v1/Pod'), { namespace, labelSelector: ours, signal })
  const streaming = new Map<string, Promise<void>>()
  const { promise, reject } = Promise.withResolvers<never>()
  const onAbort = (): void => reject(signal.reason)
  signal.addEventListener('abort', onAbort, { once: true })

  const follow = (pod: Pod): void => {
    // One stream per start of a container; the first also brings what was written before.
    const key = `${pod.metadata?.uid}/${countStarts(pod)}`
    if (!belongs(pod) || !hasStarted(pod) || streaming.has(key)) return
    const isFirst = ![...streaming.keys()].some((known) => known.startsWith(`${pod.metadata?.uid}/`))
    const stream = followPod(client, pod, isFirst ? options : { ...options, tailLines: undefined }, onLine)
    streaming.set(key, stream)
    stream.catch(reject)
  }
  pods.on((event, pod) => {
    if (event !== 'delete') follow(pod)
  })
  await pods.start()
  for (const pod of pods.list(namespace)) follow(pod)
  await promise.finally(() => signal.removeEventListener('abort', onAbort))
}

const ours = `${managedByLabel}=${managerName}`

/** The pods of an app or service, those that have ended too. */
export async function findPods(client: KubeClient, options: LogOptions): Promise<Pod[]> {
  const { namespace, signal } = options
  const { items } = await client.resource('v1/Pod').list({ namespace, labelSelector: ours, signal })
  const belongs = await matcher(client, options)
  return items.filter((pod) => belongs(pod) && hasStarted(pod))
}

/** What tells the pods of the subject: an app of this name, else a service of this name in any app. */
async function matcher(client: KubeClient, options: LogOptions): Promise<(pod: Pod) => boolean> {
  const { subject, namespace, signal } = options
  if (subject === undefined) return () => true
  const labelSelector = `${ours},${appLabel}=${subject}`
  const { items } = await client.resource('apps/v1/Deployment').list({ namespace, labelSelector, signal })
  const label = items.length > 0 ? appLabel : serviceLabel
  return ({ metadata }) => metadata?.labels?.[label] === subject
}

function hasStarted({ status }: Pod): boolean {
  const [container] = status?.containerStatuses ?? []
  return (
    container?.state?.running !== undefined || container?.state?.terminated !== undefined || countStarts({ status }) > 0
  )
}

function countStarts({ status }: Pod): number {
  return status?.containerStatuses?.[0]?.restartCount ?? 0
}

async function readPod(client: KubeClient, pod: Pod, options: LogOptions): Promise<TimedLine[]> {
  const lines: TimedLine[] = []
  for await (const line of streamPod(client, pod, options, false)) lines.push(line)
  return lines
}

async function followPod(
  client: KubeClient,
  pod: Pod,
  options: LogOptions,
  onLine: (line: LogLine) => void,
): Promise<void> {
  try {
    for await (const { line } of streamPod(client, pod, options, true)) onLine(line)
  } catch (error) {
    // A pod that went away, or whose container is not there yet, has no more lines; its next start is another stream.
    const isGone = isNotFound(error) || (error instanceof KubeError && error.httpStatus === 400)
    if (!isGone && !options.signal?.aborted) throw error
  }
}

interface TimedLine {
  readonly time: string
  readonly line: LogLine
}

async function* streamPod(
  client: KubeClient,
  pod: Pod,
  { tailLines, signal }: LogOptions,
  follow: boolean,
): AsyncGenerator<TimedLine, void, undefined> {
  const { name = '', namespace = '', labels } = pod.metadata ?? {}
  const query = new URLSearchParams({ timestamps: 'true', ...(follow && { follow: 'true' }) })
  if (tailLines !== undefined) query.set('tailLines', String(tailLines))
  const path = `/api/v1/namespaces/${namespace}/pods/${name}/log?${query.toString()}`
  const { body } = await client.request({ method: 'GET', path, signal })
  for await (const text of splitLines(body)) {
    const space = text.indexOf(' ')
    const line = { service: labels?.[serviceLabel] ?? name, pod: name, text: text.slice(space + 1) }
    yield { time: text.slice(0, space), line }
  }
}

/** A line longer than this is handed on in parts. */
const maxLineLength = 1024 * 1024

/** Lines of a UTF-8 stream as they are complete, without their ends. */
async function* splitLines(body: AsyncIterable<Uint8Array>): AsyncGenerator<string, void, undefined> {
  const decoder = new TextDecoder()
  let rest = ''
  for await (const chunk of body) {
    const lines = (rest + decoder.decode(chunk, { stream: true })).split('\n')
    rest = lines.pop() ?? ''
    yield* lines
    if (rest.length > maxLineLength) {
      yield rest
      rest = ''
    }
  }
  if (rest !== '') yield rest
}
