import type { IncomingMessage } from 'node:http'
import { request as httpsRequest } from 'node:https'

import type { ProxyTarget } from '../proxy/target.ts'
import type { RemoteResource } from './remote.ts'

const deadlineMs = 5000
const maxBytes = 4 << 20

/** Asks a server what it serves of a group-version. Rejects when it does not say within 5 seconds. */
export async function probe(target: ProxyTarget, group: string, version: string): Promise<readonly RemoteResource[]> {
  const { status, text } = await get(target, `/apis/${group}/${version}`)
  if (status < 200 || status > 299) throw new Error(`bad status from the server: ${status}`)
  const { resources } = JSON.parse(text) as { resources?: unknown }
  return Array.isArray(resources) ? (resources as RemoteResource[]).filter(({ name }) => typeof name === 'string') : []
}

async function get({ host, port, tls }: ProxyTarget, path: string): Promise<{ status: number; text: string }> {
  const { promise, resolve, reject } = Promise.withResolvers<IncomingMessage>()
  // The server itself asks, as those behind it know it.
  const headers = {
    accept: 'application/json',
    'x-remote-user': 'system:kube-aggregator',
    'x-remote-group': 'system:masters',
  }
  const signal = AbortSignal.timeout(deadlineMs)
  const sent = httpsRequest({ host, port, path, headers, agent: false, signal, ...tls })
  sent.on('error', reject)
  sent.on('response', resolve)
  sent.end()
  const response = await promise
  const pieces: Buffer[] = []
  let size = 0
  for await (const piece of response as AsyncIterable<Buffer>) {
    size += piece.length
    if (size > maxBytes) throw new Error(`the answer is larger than ${maxBytes} bytes`)
    pieces.push(piece)
  }
  return { status: response.statusCode ?? 0, text: Buffer.concat(pieces).toString('utf8') }
}
