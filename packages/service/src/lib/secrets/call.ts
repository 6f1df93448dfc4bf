import type { IncomingHttpHeaders, IncomingMessage } from 'node:http'
import type { AgentOptions } from 'node:https'
import { codeOf } from '../errors.ts'
import type { Environment } from '../lifecycle/resource.ts'
import { nodeHttp, nodeHttps } from '../node-http.ts'
import { CallFailed } from './fault.ts'
import { parseJson } from './json.ts'

/** One request to a provider. */
export interface Call {
  readonly method?: 'GET' | 'POST' | 'PUT' | undefined
  readonly url: string | URL
  readonly headers?: Readonly<Record<string, string>> | undefined
  readonly body?: string | undefined
  readonly signal: AbortSignal
  /** Default: that of the caller. */
  readonly timeoutMs?: number | undefined
}

export interface Answer {
  readonly status: number
  readonly headers: IncomingHttpHeaders
  readonly body: string
  /** The credentials that were sent: some answers repeat the request, and what is quoted of an answer must be without them. */
  readonly sent: readonly string[]
}

export interface Caller {
  /** Resolves to the answer whatever its status, redirects excepted. */
  call(call: Call): Promise<Answer>
  close(): void
}

export interface CallerOptions {
  readonly timeoutMs: number
  readonly env: Environment
  /** Certificate authorities and client certificate, where the provider has its own. */
  readonly tls?: Pick<AgentOptions, 'ca' | 'cert' | 'key' | 'servername'> | undefined
}

/** The largest secret a provider stores is 1 MiB (Kubernetes); in base64 and with its envelope it stays below this. */
const maxAnswerBytes = 2 * 1024 * 1024

/**
 * Makes requests with a deadline, a bound on the size of the answer and verified TLS. Redirects are refused: a request that carries a
 * credential goes where it was addressed. Not `fetch`, which follows no certificate authority of its own and costs more to load.
 */
export function createCaller(options: CallerOptions): Caller {
  const { env } = options
  const proxyEnv = {
    HTTPS_PROXY: env['HTTPS_PROXY'] ?? env['https_proxy'],
    NO_PROXY: env['NO_PROXY'] ?? env['no_proxy'],
  }
  const keep = { keepAlive: true, maxSockets: 8, maxFreeSockets: 2, scheduling: 'lifo' } as const
  const secure = new (nodeHttps().Agent)({ ...keep, ...options.tls, ...(proxyEnv.HTTPS_PROXY ? { proxyEnv } : {}) })
  // Plain HTTP is for the metadata services of this machine and for sidecars: never through a proxy.
  const plain = new (nodeHttp().Agent)(keep)

  const attempt = async (call: Call): Promise<Answer> => {
    const url = new URL(call.url)
    const request = (url.protocol === 'https:' ? nodeHttps() : nodeHttp()).request(url, {
      method: call.method ?? 'GET',
      agent: url.protocol === 'https:' ? secure : plain,
      headers: {
        ...call.headers,
        ...(call.body === undefined ? {} : { 'content-length': String(Buffer.byteLength(call.body)) }),
      },
    })
    const timeoutMs = call.timeoutMs ?? options.timeoutMs
    // Once the answer has begun, a destroyed request fails its reader with a reset: the reason is kept here.
    let givenUp: CallFailed | undefined
    const giveUp = (reason: string): void => void request.destroy((givenUp ??= new CallFailed(reason)))
    const timer = setTimeout(() => giveUp(`gave no answer within ${timeoutMs} ms`), timeoutMs)
    const onAbort = (): void => giveUp('was given up by the caller')
    call.signal.addEventListener('abort', onAbort, { once: true })
    if (call.signal.aborted) onAbort()
    try {
      const response = await new Promise<IncomingMessage>((resolve, reject) => {
        request.once('response', resolve).on('error', reject)
        request.end(call.body)
      })
      return {
        status: response.statusCode ?? 0,
        headers: response.headers,
        body: await readBounded(response),
        sent: credentialsOf(call),
      }
    } catch (error) {
      // An idle connection may have been closed by its peer just now: then nobody has seen the request.
      if (request.reusedSocket && codeOf(error) === 'ECONNRESET' && !givenUp) return await attempt(call)
      throw new CallFailed(`${url.protocol}//${url.host} ${explain(givenUp ?? error)}`)
    } finally {
      clearTimeout(timer)
      call.signal.removeEventListener('abort', onAbort)
    }
  }

  return {
    async call(call) {
      const answer = await attempt(call)
      if (answer.status >= 300 && answer.status < 400 && answer.status !== 304)
        throw new CallFailed(
          `${new URL(call.url).host} answered with a redirect (${answer.status}), which is not followed`,
        )
      return answer
    },
    close() {
      secure.destroy()
      plain.destroy()
    },
  }
}

const credentialHeaders = [
  'authorization',
  'x-vault-token',
  'x-amz-security-token',
  'x-identity-header',
  'x-aws-ec2-metadata-token',
]
const credentialFields = new Set([
  'client_secret',
  'client_assertion',
  'assertion',
  'subject_token',
  'refresh_token',
  'WebIdentityToken',
  'secret_id',
  'jwt',
])

function credentialsOf({ headers = {}, body = '' }: Call): string[] {
  const inHeaders = credentialHeaders.flatMap((name) => headers[name] ?? [])
  // A scheme or a list of attributes stands around what is secret.
  const parts = inHeaders.flatMap((text) => text.split(/[ ,=]+/).filter((part) => part.length >= 8))
  const fields = Object.entries(parseJson(body) ?? Object.fromEntries(new URLSearchParams(body)))
  const inBody = fields.flatMap(([key, value]) => (credentialFields.has(key) && typeof value === 'string' ? value : []))
  return [...inHeaders, ...parts, ...inBody].filter((text) => text !== '')
}

async function readBounded(response: IncomingMessage): Promise<string> {
  const chunks: Buffer[] = []
  let size = 0
  for await (const chunk of response as AsyncIterable<Buffer>) {
    size += chunk.length
    if (size > maxAnswerBytes) {
      response.destroy()
      throw new CallFailed(`answered with more than ${maxAnswerBytes} bytes`)
    }
    chunks.push(chunk)
  }
  return Buffer.concat(chunks).toString('utf8')
}

const networkCodes: Readonly<Record<string, string>> = {
  ECONNREFUSED: 'refuses connections',
  ECONNRESET: 'cut the connection',
  ENOTFOUND: 'is not known to DNS',
  EAI_AGAIN: 'cannot be looked up: DNS does not answer',
  EHOSTUNREACH: 'cannot be reached: no route',
  ENETUNREACH: 'cannot be reached: no network',
  ETIMEDOUT: 'does not answer',
}

function explain(error: unknown): string {
  if (error instanceof CallFailed) return error.message
  const code = codeOf(error)
  if (code === undefined) return 'failed'
  // Of Node's own errors only the code is told: the text of some repeats what was sent or received.
  return (
    networkCodes[code] ?? (isTlsCode(code) ? `has a certificate that is not trusted (${code})` : `failed (${code})`)
  )
}

function isTlsCode(code: string): boolean {
  return (
    code.includes('CERT') || code.includes('SELF_SIGNED') || code.includes('UNABLE_TO') || code.startsWith('ERR_TLS')
  )
}
