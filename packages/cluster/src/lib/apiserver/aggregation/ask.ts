import type { IncomingMessage, OutgoingHttpHeaders } from 'node:http'
import { request as httpsRequest } from 'node:https'

import type { ProxyTarget } from '../proxy/target.ts'

/** A question this server itself asks one behind it. */
export interface Question {
  readonly path: string
  /** As whom the server behind sees this one. */
  readonly user: string
  readonly groups?: readonly string[] | undefined
  /** The version that is there already, as the server behind named it. */
  readonly etag?: string | undefined
  readonly deadlineMs: number
  /** Answers beyond it are refused. */
  readonly maxBytes: number
}

export interface Reply {
  readonly status: number
  readonly etag: string | undefined
  readonly text: string
}

/** Asks a server behind this one for JSON. Rejects when it does not answer in time, or at too great length. */
export async function ask({ host, port, tls }: ProxyTarget, question: Question): Promise<Reply> {
  const { promise, resolve, reject } = Promise.withResolvers<IncomingMessage>()
  const { path, deadlineMs, maxBytes } = question
  const signal = AbortSignal.timeout(deadlineMs)
  const sent = httpsRequest({ host, port, path, headers: headersOf(question), agent: false, signal, ...tls })
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
  const { statusCode = 0, headers } = response
  return { status: statusCode, etag: headers.etag, text: Buffer.concat(pieces).toString('utf8') }
}

function headersOf({ user, groups, etag }: Question): OutgoingHttpHeaders {
  return {
    accept: 'application/json',
    'x-remote-user': user,
    ...(groups === undefined ? {} : { 'x-remote-group': [...groups] }),
    ...(etag === undefined ? {} : { 'if-none-match': etag }),
  }
}
