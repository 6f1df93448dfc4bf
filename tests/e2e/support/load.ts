// A steady stream of requests whose every answer and failure is kept.
import { Agent, request } from 'node:http'
import { text } from 'node:stream/consumers'

export interface LoadOptions {
  readonly url: string
  /** Requests that begin per second, whether those before are answered or not. */
  readonly perSecond: number
  /** The fields of a form, which is sent by POST. Default: none, and GET. */
  readonly form?: string | undefined
  /** What an answer has. Default 200. */
  readonly status?: number | undefined
  /** `kept`: over connections that are used again (HTTP/1.1 keep-alive). Default: a new one for each request. */
  readonly connections?: 'kept' | 'new' | undefined
}

export interface Load extends AsyncDisposable {
  /** Bodies of the answers with that status, in their order. */
  readonly answers: readonly string[]
  /** What else clients noticed, in words. Nothing is sent a second time. */
  readonly failures: readonly string[]
}

const deadlineMs = 30_000

/** Sends requests until it is disposed of, which waits for the answers that are still to come. */
export function startLoad({ url, perSecond, form, status = 200, connections = 'new' }: LoadOptions): Load {
  const agent = new Agent({ keepAlive: connections === 'kept', maxSockets: 64 })
  const answers: string[] = []
  const failures: string[] = []
  const pending = new Set<Promise<void>>()
  const begin = (): void => {
    const sent = send(url, form, agent)
      .then(
        (seen) =>
          void (seen.status === status
            ? answers.push(seen.body)
            : failures.push(`${seen.status} ${seen.body.slice(0, 200)}`)),
      )
      .catch((error: Error) => void failures.push(error.message))
      .finally(() => pending.delete(sent))
    pending.add(sent)
  }
  const timer = setInterval(begin, 1_000 / perSecond)
  return {
    answers,
    failures,
    async [Symbol.asyncDispose]() {
      clearInterval(timer)
      await Promise.all(pending)
      agent.destroy()
    },
  }
}

function send(
  url: string,
  form: string | undefined,
  agent: Agent,
): Promise<{ status: number | undefined; body: string }> {
  const headers = { 'content-type': 'application/x-www-form-urlencoded' }
  const options = form === undefined ? {} : { method: 'POST', headers }
  return new Promise((resolve, reject) => {
    const outgoing = request(url, { ...options, agent, signal: AbortSignal.timeout(deadlineMs) }, (response) => {
      text(response).then((body) => resolve({ status: response.statusCode, body }), reject)
    })
    outgoing.once('error', reject)
    outgoing.end(form)
  })
}
