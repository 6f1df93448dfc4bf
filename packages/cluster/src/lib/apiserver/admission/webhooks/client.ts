import { renderExactJson } from '@fairlead/kube/codec'
import { Agent, request as httpsRequest } from 'node:https'
import type { IncomingMessage } from 'node:http'
import type { WebhookClientConfig } from '@fairlead/kube/types/admissionregistration-v1'

import type { ServiceResolver } from './service-address.ts'

/** No answer to a review comes near; a webhook gone wild must not fill the memory. */
const maxAnswerBytes = 3 << 20
const idleSockets = 25

/** Posts reviews to one webhook and keeps its connections. */
export class WebhookClient {
  readonly #config: WebhookClientConfig
  readonly #resolve: ServiceResolver
  readonly #agent: Agent

  constructor(config: WebhookClientConfig, resolve: ServiceResolver) {
    this.#config = config
    this.#resolve = resolve
    const { caBundle } = config
    const ca = caBundle === undefined || caBundle === '' ? {} : { ca: Buffer.from(caBundle, 'base64') }
    this.#agent = new Agent({ keepAlive: true, maxFreeSockets: idleSockets, ...ca })
  }

  close(): void {
    this.#agent.destroy()
  }

  /** The answer, parsed. Rejects with an error worded as upstream's client words it. */
  async post(review: unknown, timeoutSeconds: number): Promise<unknown> {
    const place = this.#place(timeoutSeconds)
    const body = Buffer.from(renderExactJson(review))
    const { status, text } = await this.#exchange(place, body, timeoutSeconds * 1000).catch((cause: unknown) => {
      const why = cause instanceof Error ? worded(cause, place.host, place.port) : String(cause)
      throw new Error(`Post ${JSON.stringify(place.url)}: ${why}`, { cause })
    })
    if (status < 200 || status > 299) throw new Error(refusal(status, text))
    return JSON.parse(text) as unknown
  }

  #place(timeoutSeconds: number): Place {
    const { url, service } = this.#config
    const query = `timeout=${timeoutSeconds}s`
    if (service === undefined) {
      const parsed = new URL(url ?? '')
      parsed.searchParams.set('timeout', `${timeoutSeconds}s`)
      const port = parsed.port === '' ? 443 : Number(parsed.port)
      const host = parsed.hostname.replaceAll(/^\[|\]$/g, '')
      return { url: parsed.href, host, port, servername: host, path: parsed.pathname + parsed.search }
    }
    const { namespace, name, port = 443, path = '/' } = service
    const servername = `${name}.${namespace}.svc`
    const { host, port: target } = this.#resolve(namespace, name, port)
    const full = `${path.startsWith('/') ? path : `/${path}`}?${query}`
    return { url: `https://${servername}:${port}${full}`, host, port: target, servername, path: full }
  }

  #exchange(place: Place, body: Buffer, timeoutMs: number): Promise<{ status: number; text: string }> {
    const { promise, resolve, reject } = Promise.withResolvers<{ status: number; text: string }>()
    const { host, port, path, servername } = place
    const headers = {
      'content-type': 'application/json',
      accept: 'application/json, */*',
      'content-length': body.length,
      'user-agent': 'kube-apiserver-admission',
      host: port === 443 ? servername : `${servername}:${port}`,
    }
    const tls = { servername: isAddress(servername) ? '' : servername }
    const sent = httpsRequest({ host, port, path, method: 'POST', headers, agent: this.#agent, ...tls })
    const timer = setTimeout(() => sent.destroy(new Error('context deadline exceeded')), timeoutMs)
    sent.on('error', reject)
    sent.on('response', (response) => resolve(readAnswer(response)))
    sent.end(body)
    return promise.finally(() => clearTimeout(timer))
  }
}

interface Place {
  readonly url: string
  readonly host: string
  readonly port: number
  readonly servername: string
  readonly path: string
}

async function readAnswer(response: IncomingMessage): Promise<{ status: number; text: string }> {
  const pieces: Buffer[] = []
  let size = 0
  for await (const piece of response as AsyncIterable<Buffer>) {
    size += piece.length
    if (size > maxAnswerBytes) throw new Error(`the answer is larger than ${maxAnswerBytes} bytes`)
    pieces.push(piece)
  }
  return { status: response.statusCode ?? 0, text: Buffer.concat(pieces).toString('utf8') }
}

/** Go's words for the failures people search for. */
function worded(error: Error & { code?: string }, host: string, port: number): string {
  if (error.code === 'ECONNREFUSED') return `dial tcp ${host}:${port}: connect: connection refused`
  if (error.code === 'ENOTFOUND') return `dial tcp: lookup ${host}: no such host`
  if (error.code === 'ECONNRESET') return 'EOF'
  const isUnknownAuthority = ['UNABLE_TO_VERIFY_LEAF_SIGNATURE', 'SELF_SIGNED_CERT_IN_CHAIN'].includes(error.code ?? '')
  if (isUnknownAuthority || error.code === 'DEPTH_ZERO_SELF_SIGNED_CERT') {
    return 'tls: failed to verify certificate: x509: certificate signed by unknown authority'
  }
  return error.message
}

function refusal(status: number, text: string): string {
  if (status === 404) return 'the server could not find the requested resource'
  const shown = JSON.stringify(text.slice(0, 2048).trim())
  if (status >= 500) return `an error on the server (${shown}) has prevented the request from succeeding`
  return `the server rejected our request for an unknown reason (status ${status})`
}

function isAddress(host: string): boolean {
  return host.includes(':') || /^\d+\.\d+\.\d+\.\d+$/.test(host)
}
