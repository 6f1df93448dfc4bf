import { readFile } from 'node:fs/promises'

import { credentialsUnusable } from '../errors.ts'
import { parseJson } from './answers.ts'
import { bodyOf } from './exchange.ts'
import { openConnections, reasonOf } from './client-http.ts'

/** One call of a cloud's interface. */
interface CloudCall {
  method?: string
  headers?: Record<string, string>
  body?: string
}

export interface CloudAnswer {
  status: number
  text: string
  json: unknown
}

/** How the log-ins reach their clouds. */
export interface CloudAccess {
  readonly env: NodeJS.ProcessEnv
  now(): number
  /** `FAIRLEAD_OCI_CREDENTIALS` when there is no answer. */
  call(url: URL, call: CloudCall): Promise<CloudAnswer>
  /** The same for what may not be there: nothing when it does not answer soon. */
  probe(url: URL, call: CloudCall): Promise<CloudAnswer | undefined>
}

const CALL_TIMEOUT_MS = 10_000
const PROBE_TIMEOUT_MS = 1_000
const MAX_ANSWER_BYTES = 1 << 20
export function openAccess(env: NodeJS.ProcessEnv, signal?: AbortSignal): CloudAccess {
  const connections = openConnections()
  const send = async (
    url: URL,
    { method = 'GET', headers = {}, body }: CloudCall,
    timeoutMs: number,
  ): Promise<CloudAnswer> => {
    const answer = await connections.send({
      method,
      url,
      headers,
      ...(body === undefined ? {} : { body: bodyOf(Buffer.from(body)) }),
      idleMs: timeoutMs,
      totalMs: timeoutMs,
      signal,
    })
    const bytes = await answer.bytes(MAX_ANSWER_BYTES)
    return { status: answer.status, text: bytes.toString(), json: parseJson(bytes) }
  }
  return {
    env,
    now: Date.now,
    call: (url, call) =>
      send(url, call, CALL_TIMEOUT_MS).catch((error: unknown) => {
        signal?.throwIfAborted()
        throw credentialsUnusable(url.host, `it does not answer (${reasonOf(error)})`, 'Check the network', error)
      }),
    probe: (url, call) =>
      send(url, call, PROBE_TIMEOUT_MS).catch(() => {
        signal?.throwIfAborted()
        return undefined
      }),
  }
}

/** Text of a member of a JSON object. */
export function textAt(value: unknown, key: string): string | undefined {
  const member = typeof value === 'object' && value !== null ? (value as Record<string, unknown>)[key] : undefined
  return typeof member === 'string' && member !== '' ? member : undefined
}

export async function readText(path: string): Promise<string | undefined> {
  return readFile(path, 'utf8').catch(() => undefined)
}
