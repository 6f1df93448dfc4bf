import type { ServerResponse } from 'node:http'

/** An answer with more to say than its body. Made by {@link reply} and {@link html}. */
export class Reply {
  readonly body: unknown
  readonly status: number
  readonly headers: Readonly<Record<string, string | readonly string[]>>

  constructor(body: unknown, status: number, headers: Readonly<Record<string, string | readonly string[]>>) {
    this.body = body
    this.status = status
    this.headers = headers
  }
}

/** A body that writes itself, head included: one that lives long, and has to know when the service stops. */
export abstract class WrittenBody {
  abstract writeTo(response: ServerResponse, status: number, headers: Reply['headers']): Promise<void>
}

export interface ReplyOptions {
  /** Default 200. */
  readonly status?: number | undefined
  /** Names in lower case. A list writes the header once per value (`set-cookie`). */
  readonly headers?: Readonly<Record<string, string | readonly string[]>> | undefined
}

/**
 * An answer with a status and headers, cheaper than a `Response`. The body is written as if it had been returned
 * itself: text as `text/plain`, bytes as they are, anything else as JSON; `undefined` means no body.
 */
export function reply(body: unknown, options: ReplyOptions = {}): Reply {
  return new Reply(body, options.status ?? 200, options.headers ?? {})
}

/** A page. The caller has escaped what needs escaping. */
export function html(text: string, options: ReplyOptions = {}): Reply {
  return new Reply(text, options.status ?? 200, { 'content-type': 'text/html; charset=utf-8', ...options.headers })
}

/** Sends the caller elsewhere. The status 303, the default, turns a POST into a GET. */
export function redirect(location: string, options: ReplyOptions = {}): Reply {
  return new Reply(undefined, options.status ?? 303, { ...options.headers, location })
}
