import { parseExactJson } from '@fairlead/kube/codec'

import { randomUUID } from 'node:crypto'

import type { ApiRequest, ApiResponse, Identity } from '../../exchange.ts'
import { joinPieces } from '../../pieces.ts'
import { askedAttributes } from '../request-attributes.ts'
import type { Attributes } from '../attributes.ts'
import { chooseLevel } from './policy.ts'
import type { AuditChoice, AuditPolicy, AuditStage } from './policy.ts'

/** Where events go. */
export interface AuditSink {
  append(event: object): void
  close(): void
}

/** Writes down who asked for what and what became of it (audit.k8s.io/v1 Event), as much of it as a policy says. */
export class Auditor {
  readonly #policy: AuditPolicy
  readonly #sink: AuditSink

  constructor(policy: AuditPolicy, sink: AuditSink) {
    this.#policy = policy
    this.#sink = sink
  }

  close(): void {
    this.#sink.close()
  }

  async observe(request: ApiRequest, handle: (request: ApiRequest) => Promise<ApiResponse>): Promise<ApiResponse> {
    const asked = askedAttributes(request.method, request.path, request.query)
    const choice = chooseLevel(this.#policy, request.impersonator ?? request.identity, asked)
    if (choice.level === 'None') return await handle(request)
    const record = new Observation(request, asked, choice, this.#sink)
    record.write('RequestReceived')
    try {
      return record.answered(await handle(record.request))
    } catch (error) {
      record.write('Panic', { code: 500, status: 'Failure', reason: 'InternalError' })
      throw error
    }
  }
}

class Observation {
  readonly request: ApiRequest
  readonly #event: Record<string, unknown>
  readonly #choice: AuditChoice
  readonly #sink: AuditSink
  #body: Buffer | undefined

  constructor(request: ApiRequest, asked: Attributes, choice: AuditChoice, sink: AuditSink) {
    this.#choice = choice
    this.#sink = sink
    this.#event = renderEvent(request, asked, choice)
    const readBody = async (): Promise<Buffer> => (this.#body = await request.readBody())
    // The signal by name: it is made when asked for, and is no property that a copy would have.
    this.request = choice.level === 'Metadata' ? request : { ...request, signal: request.signal, readBody }
  }

  write(stage: AuditStage, responseStatus?: object, responseObject?: unknown): void {
    if (this.#choice.omitStages.includes(stage)) return
    const requestObject = stage === 'RequestReceived' ? undefined : parseJson(this.#body)
    this.#sink.append({
      ...this.#event,
      stage,
      ...(responseStatus === undefined ? {} : { responseStatus: { metadata: {}, ...responseStatus } }),
      ...(requestObject === undefined ? {} : { requestObject }),
      ...(responseObject === undefined ? {} : { responseObject }),
      stageTimestamp: microTime(),
    })
  }

  answered(answer: ApiResponse): ApiResponse {
    const { body, status: code } = answer
    if ('pieces' in body) {
      const isWanted = this.#choice.level === 'RequestResponse' || code >= 400
      const object = isWanted ? parseJson(joinPieces(body.pieces)) : undefined
      const failure =
        code >= 400 ? (object as { status?: string; message?: string; reason?: string } | undefined) : undefined
      const { status, message, reason } = failure ?? {}
      const told = status === undefined ? {} : { status, message, reason }
      this.write('ResponseComplete', { ...told, code }, this.#choice.level === 'RequestResponse' ? object : undefined)
      return answer
    }
    this.write('ResponseStarted', { code })
    if (!('stream' in body)) return answer
    const stream: typeof body.stream = async (sink) => {
      try {
        await body.stream(sink)
      } finally {
        this.write('ResponseComplete', { code })
      }
    }
    return { ...answer, body: { stream } }
  }
}

function renderEvent(request: ApiRequest, asked: Attributes, { level }: AuditChoice): Record<string, unknown> {
  const { identity, impersonator, headers } = request
  const received = microTime()
  return {
    kind: 'Event',
    apiVersion: 'audit.k8s.io/v1',
    level,
    auditID: headers['audit-id'] ?? randomUUID(),
    requestURI: request.target ?? request.path,
    verb: asked.verb,
    user: renderUser(impersonator ?? identity),
    ...(impersonator === undefined ? {} : { impersonatedUser: renderUser(identity) }),
    sourceIPs: request.remoteAddress === undefined ? [] : [request.remoteAddress],
    ...(headers['user-agent'] === undefined ? {} : { userAgent: headers['user-agent'] }),
    ...(asked.path === undefined ? { objectRef: renderReference(request.path, asked) } : {}),
    requestReceivedTimestamp: received,
  }
}

function renderUser({ user, uid, groups, extra }: Identity): object {
  return { username: user, ...(uid === undefined ? {} : { uid }), groups, ...(extra === undefined ? {} : { extra }) }
}

function renderReference(path: string, { group, resource, subresource, namespace, name }: Attributes): object {
  const apiVersion = path.split('/').filter((segment) => segment !== '')[group === '' ? 1 : 2] ?? ''
  const reference = { resource, namespace, name, apiGroup: group, apiVersion, subresource }
  return Object.fromEntries(Object.entries(reference).filter(([, value]) => value !== ''))
}

function parseJson(bytes: Buffer | undefined): unknown {
  if (bytes === undefined || bytes[0] !== 0x7b) return undefined
  try {
    return parseExactJson(bytes.toString('utf8'))
  } catch {
    return undefined
  }
}

function microTime(): string {
  return new Date().toISOString().replace('Z', '000Z')
}
