import type { KubeClient } from './client.ts'
import { splitLines } from './lines.ts'

export interface PodLogOptions {
  /** Default: the client's. */
  readonly namespace?: string | undefined
  /** Default: the only one; throws KubeError when there are several. */
  readonly container?: string | undefined
  /** Go on with what is written from now, until the container ends. Default false. */
  readonly follow?: boolean | undefined
  /** Of the container before the last restart. Default false. */
  readonly previous?: boolean | undefined
  /** Each line begins with its time (RFC 3339) and a space. Default false. */
  readonly timestamps?: boolean | undefined
  /** Lines from the end. Default: all that are kept. */
  readonly tailLines?: number | undefined
  readonly sinceSeconds?: number | undefined
  /** RFC 3339. */
  readonly sinceTime?: string | undefined
  readonly limitBytes?: number | undefined
  readonly signal?: AbortSignal | undefined
}

/** The lines a container wrote (`pods/log`), without their ends, as they arrive. A line over 16 MiB comes in pieces. */
export async function* readPodLog(
  client: KubeClient,
  pod: string,
  options: PodLogOptions = {},
): AsyncGenerator<string, void, undefined> {
  const { namespace = client.namespace, signal, ...asked } = options
  const pairs = Object.entries(asked).filter(([, value]) => value !== undefined)
  const query = new URLSearchParams(pairs.map(([key, value]): [string, string] => [key, String(value)]))
  const path = `/api/v1/namespaces/${encodeURIComponent(namespace)}/pods/${encodeURIComponent(pod)}/log`
  const { body } = await client.request({ method: 'GET', path: `${path}?${query.toString()}`, signal })
  yield* splitLines(body, { keepRest: true })
}
