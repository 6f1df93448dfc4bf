import type { ApiResponse } from './exchange.ts'

const { STATUS_CODES } = process.getBuiltinModule('node:http')

const printable = /^[\x20-\x7e]*$/
/** An answer that says this itself is not a usual one. */
const framing = /^(?:cache-control|connection|content-length|date|keep-alive|transfer-encoding)$/i

/** Heads of answers that have a body of known length, with the lines that `node:http` writes. */
export class HeadWriter {
  readonly #keepAlive: string
  #second = Number.NaN
  #end = ''

  constructor(keepAliveMs: number) {
    this.#keepAlive = `Connection: keep-alive\r\nKeep-Alive: timeout=${Math.floor(keepAliveMs / 1000)}`
  }

  /** Undefined for a status that may have no body, and for headers with several values or other than printable ASCII. */
  render({ status, headers }: Pick<ApiResponse, 'status' | 'headers'>, bodyBytes: number): string | undefined {
    const reason = STATUS_CODES[status]
    if (reason === undefined || status < 200 || status === 204 || status === 304) return undefined
    let lines = `HTTP/1.1 ${status} ${reason}\r\ncache-control: no-cache, private\r\n`
    for (const name in headers) {
      const value = headers[name]
      if (typeof value !== 'string' || !printable.test(value) || framing.test(name)) return undefined
      lines += `${name}: ${value}\r\n`
    }
    return `${lines}content-length: ${bodyBytes}\r\n${this.#endOfHead()}`
  }

  /** The same for all answers of a second. */
  #endOfHead(): string {
    const second = Math.floor(Date.now() / 1000)
    if (second !== this.#second) {
      this.#second = second
      this.#end = `Date: ${new Date(second * 1000).toUTCString()}\r\n${this.#keepAlive}\r\n\r\n`
    }
    return this.#end
  }
}
