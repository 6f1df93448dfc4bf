import type { KubeObject } from '@fairlead/kube/types'
import type { Pod } from '@fairlead/kube/types/core-v1'

import type { ApiRequest, ApiResponse, Sink } from './exchange.ts'
import type { Kubelet, KubeletRequest, KubeletResponse } from './kubelet.ts'
import { checkLogOptions } from './pod-log-options.ts'
import { badRequest, unavailable } from './status.ts'
import { negotiateUpgrade } from './streaming/negotiate.ts'
import { asksWebSocket, switchToWebSocket } from './websocket-answer.ts'

const parameters = [
  'follow',
  'previous',
  'timestamps',
  'sinceSeconds',
  'sinceTime',
  'tailLines',
  'limitBytes',
  'stream',
]

/** Serves `pods/log`: what the node's agent answers, as it arrives. */
export async function servePodLog(
  pod: KubeObject & Pod,
  request: ApiRequest,
  findKubelet: (nodeName: string) => Promise<Kubelet>,
): Promise<ApiResponse> {
  const { name = '', namespace = '' } = pod.metadata
  checkLogOptions(request.query, name)
  const container = chooseContainer(pod, request.query.get('container') ?? '')
  const nodeName = pod.spec?.nodeName ?? ''
  // Not scheduled yet: there is nothing to read, and that is no error upstream either.
  if (nodeName === '') return textAnswer(200, [])
  const query = new URLSearchParams()
  for (const key of parameters) {
    const value = request.query.get(key)
    if (value !== null) query.set(key, value)
  }
  const path = `/containerLogs/${namespace}/${name}/${container}?${query.toString()}`
  const left = asksWebSocket(request) ? new AbortController() : undefined
  const signal = left === undefined ? request.signal : AbortSignal.any([request.signal, left.signal])
  const answer = await reach(nodeName, findKubelet, { method: 'GET', path, signal })
  if (answer.status !== 200) throw badRequest(await readText(answer.body))
  if (left !== undefined) return logOverWebSocket(request, answer.body, left)
  return {
    status: 200,
    headers: { 'content-type': 'text/plain', 'cache-control': 'no-cache, private' },
    body: { stream: (sink) => copy(answer.body, sink, request.signal) },
  }
}

/** Upstream's protocols for what has no channels: messages of bytes, or of text in base64. */
const protocols = ['binary.k8s.io', 'base64.binary.k8s.io']

/** `left` is aborted when the listener leaves: the log may have nothing to say for long. */
function logOverWebSocket(request: ApiRequest, body: AsyncIterable<Uint8Array>, left: AbortController): ApiResponse {
  const negotiated = negotiateUpgrade(request, { webSocket: protocols, spdy: [] })
  const isText = negotiated.protocol === 'base64.binary.k8s.io'
  return switchToWebSocket(request, negotiated, async (webSocket, signal) => {
    signal.addEventListener('abort', () => left.abort())
    for await (const chunk of body) {
      if (signal.aborted) return
      const bytes = Buffer.from(chunk.buffer, chunk.byteOffset, chunk.byteLength)
      if (isText) webSocket.send([Buffer.from(bytes.toString('base64'))], 'text')
      else webSocket.send([bytes])
      if (webSocket.waitingBytes > 0) await webSocket.drained()
    }
  })
}

/** The container a request to a pod means; throws 400 as upstream when it has to be named. */
export function chooseContainer(pod: KubeObject & Pod, asked: string): string {
  const all = [
    ...(pod.spec?.containers ?? []),
    ...(pod.spec?.initContainers ?? []),
    ...(pod.spec?.ephemeralContainers ?? []),
  ].map((container) => container.name)
  const { name = '' } = pod.metadata
  if (asked !== '' && all.includes(asked)) return asked
  if (asked !== '') throw badRequest(`container ${asked} is not valid for pod ${name}`)
  const main = (pod.spec?.containers ?? []).map((container) => container.name)
  const [only, ...others] = main
  if (only !== undefined && others.length === 0) return only
  const initial = (pod.spec?.initContainers ?? []).map((container) => container.name)
  const among = initial.length === 0 ? '' : ` or one of the init containers: [${initial.join(' ')}]`
  throw badRequest(`a container name must be specified for pod ${name}, choose one of: [${main.join(' ')}]${among}`)
}

/** Reaches a node; throws 503 when its agent cannot be found. */
async function reach(
  nodeName: string,
  findKubelet: (nodeName: string) => Promise<Kubelet>,
  request: KubeletRequest,
): Promise<KubeletResponse> {
  try {
    const kubelet = await findKubelet(nodeName)
    return await kubelet.fetch(request)
  } catch (error) {
    const why = error instanceof Error ? error.message : String(error)
    throw unavailable(`Cannot reach node "${nodeName}": ${why}`)
  }
}

async function readText(body: AsyncIterable<Uint8Array>): Promise<string> {
  let text = ''
  for await (const chunk of body) {
    text += Buffer.from(chunk).toString('utf8')
    if (text.length > 10_000) break
  }
  return text.trim()
}

async function copy(body: AsyncIterable<Uint8Array>, sink: Sink, signal: AbortSignal): Promise<void> {
  for await (const chunk of body) {
    if (signal.aborted) return
    sink.write(Buffer.from(chunk.buffer, chunk.byteOffset, chunk.byteLength))
    if (sink.waitingBytes > 0) await sink.drained()
  }
}

function textAnswer(status: number, pieces: Buffer[]): ApiResponse {
  return { status, headers: { 'content-type': 'text/plain' }, body: { pieces } }
}
