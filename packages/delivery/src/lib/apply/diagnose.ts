import { type KubeClient, readBytes } from '@fairlead/kube'
import type { Pod } from '@fairlead/kube/types/core-v1'

const tailLines = 10
const maxLogBytes = 64 * 1024
const maxLineLength = 1000

export interface DiagnoseOptions {
  readonly namespace: string
  readonly signal?: AbortSignal | undefined
}

/** The last lines a crashed pod wrote, each with a mark; empty when it wrote none or they cannot be had. */
export async function readLastLines(client: KubeClient, pod: string, options: DiagnoseOptions): Promise<string[]> {
  // The container that crashed is the one before, unless it has not been started again.
  const text = (await readLog(client, pod, true, options)) || (await readLog(client, pod, false, options))
  const lines = text.split('\n').filter((line) => line.trim() !== '')
  return lines.slice(-tailLines).map((line) => `| ${line.slice(0, maxLineLength)}`)
}

async function readLog(
  client: KubeClient,
  pod: string,
  previous: boolean,
  { namespace, signal }: DiagnoseOptions,
): Promise<string> {
  const query = `tailLines=${tailLines}&limitBytes=${maxLogBytes}${previous ? '&previous=true' : ''}`
  const path = `/api/v1/namespaces/${namespace}/pods/${pod}/log?${query}`
  try {
    const { body } = await client.request({ method: 'GET', path, signal })
    return Buffer.from(await readBytes(body, 4 * maxLogBytes)).toString('utf8')
  } catch {
    // A diagnosis adds to an error that is reported anyway; what it cannot find out it leaves away.
    return ''
  }
}

/** The newest warning about each of the pods, such as a failing probe. */
export async function readWarnings(
  client: KubeClient,
  pods: readonly Pod[],
  { namespace, signal }: DiagnoseOptions,
): Promise<string[]> {
  const warnings: string[] = []
  for (const { metadata } of pods.slice(0, 3)) {
    const fieldSelector = `involvedObject.uid=${metadata?.uid},type=Warning`
    try {
      const { items } = await client.resource('v1/Event').list({ namespace, fieldSelector, signal })
      const time = (event: (typeof items)[number]): string => event.lastTimestamp ?? event.eventTime ?? ''
      const newest = items.toSorted((a, b) => time(a).localeCompare(time(b))).at(-1)
      if (newest) warnings.push(`${metadata?.name}: ${newest.reason}: ${newest.message}`)
    } catch {
      return warnings
    }
  }
  return warnings
}
