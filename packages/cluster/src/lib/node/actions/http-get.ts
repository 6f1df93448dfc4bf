import { isIP, connect as connectTcp } from 'node:net'
import type { Socket } from 'node:net'
import { connect as connectTls } from 'node:tls'

import { parseAnswer } from './http-answer.ts'
import type { HttpAnswer } from './http-answer.ts'
import { describeTrouble, renderAddress } from './trouble.ts'

/** What is asked for. */
export interface HttpGet {
  readonly isTls: boolean
  readonly host: string
  readonly port: number
  readonly path: string
  readonly headers: readonly { readonly name: string; readonly value: string }[]
  readonly userAgent: string
}

/** The answer, or why there is none. */
export type HttpGot = HttpAnswer | { readonly trouble: string }

const MOST_REDIRECTS = 10
const deadlineExceeded = 'context deadline exceeded (Client.Timeout exceeded while awaiting headers)'

/**
 * One GET as kubelets do it for probes and hooks: HTTP/1.1, a new connection each time, which is closed after it, no proxy,
 * certificates taken as they are, redirects followed within the host, one deadline for all of it. Written on bare sockets: what an
 * HTTP client does for its many other uses is most of what a probe would cost.
 */
export async function getHttp(asked: HttpGet, timeoutMs: number): Promise<HttpGot> {
  const deadline = performance.now() + timeoutMs
  let get = asked
  for (let redirects = 0; ; redirects += 1) {
    const head = renderHead(get)
    if (typeof head !== 'string') return troubleWith(get, head.trouble)
    const got = await exchange(get, head, Math.max(1, deadline - performance.now()))
    if ('trouble' in got) return troubleWith(get, got.trouble)
    const next = redirectOf(get, got)
    if (!next || next.host !== asked.host) return got
    if (redirects + 1 >= MOST_REDIRECTS) return troubleWith(next, `stopped after ${MOST_REDIRECTS} redirects`)
    get = next
  }
}

function troubleWith(get: HttpGet, trouble: string): HttpGot {
  return { trouble: `Get "${urlOf(get)}": ${trouble}` }
}

function urlOf({ isTls, host, port, path }: HttpGet): string {
  return `${isTls ? 'https' : 'http'}://${renderAddress(host, port)}${targetOf(path)}`
}

/** A path as a request line carries it (RFC 9112, section 3.2.1): whatever was given, it stays one word. */
function targetOf(path: string): string {
  const target = path.startsWith('/') ? path : `/${path}`
  return /[^!-~]|["#<>\\^`{|}]/.test(target) ? encodeURI(target.split('#', 1)[0] ?? '').replaceAll('%25', '%') : target
}

function renderHead({ host, port, path, headers, userAgent }: HttpGet): string | { trouble: string } {
  const fields = { host: renderAddress(host, port), 'user-agent': userAgent, accept: '*/*' }
  let others = ''
  for (const { name, value } of headers) {
    // oxlint-disable-next-line no-control-regex
    if (/[^\t\u{20}-\u{7e}\u{80}-\u{10ffff}]/u.test(value))
      return { trouble: `net/http: invalid header field value for "${name}"` }
    const key = name.toLowerCase()
    if (key === 'host' || key === 'user-agent' || key === 'accept') fields[key] = value
    else if (key !== 'connection' && key !== 'content-length' && key !== 'transfer-encoding')
      others += `${name}: ${value}\r\n`
  }
  const agent = fields['user-agent'] === '' ? '' : `User-Agent: ${fields['user-agent']}\r\n`
  const accept = fields.accept === '' ? '' : `Accept: ${fields.accept}\r\n`
  return `GET ${targetOf(path)} HTTP/1.1\r\nHost: ${fields.host}\r\n${agent}${accept}${others}Connection: close\r\n\r\n`
}

/** Where an answer leads to; undefined when nowhere. */
function redirectOf(get: HttpGet, { status, location = '' }: HttpAnswer): HttpGet | undefined {
  const leads = status === 301 || status === 302 || status === 303 || status === 307 || status === 308
  if (!leads || location === '' || !URL.canParse(location, urlOf(get))) return undefined
  const { protocol, hostname, port, pathname, search } = new URL(location, urlOf(get))
  if (protocol !== 'http:' && protocol !== 'https:') return undefined
  const isTls = protocol === 'https:'
  const host = hostname.replace(/^\[|\]$/g, '')
  // A name of the service goes along as long as the redirect names none.
  const headers = /^[a-z]+:|^\/\//i.test(location)
    ? get.headers.filter(({ name }) => name.toLowerCase() !== 'host')
    : get.headers
  return { ...get, isTls, host, port: Number(port) || (isTls ? 443 : 80), path: pathname + search, headers }
}

/** What is read is looked at before anything else is: one place for all of it. */
const buffer = Buffer.allocUnsafeSlow(16 * 1024)

function exchange(get: HttpGet, head: string, timeoutMs: number): Promise<HttpGot> {
  const { promise, resolve } = Promise.withResolvers<HttpGot>()
  let text = ''
  let isConnected = false
  const finish = (result: HttpGot): void => {
    clearTimeout(timer)
    resolve(result)
    socket.destroy()
  }
  const look = (isEnded: boolean): void => {
    const parsed = parseAnswer(text, isEnded)
    if (parsed.state === 'whole') finish(parsed.answer)
    if (parsed.state === 'broken') finish({ trouble: parsed.reason })
  }
  const take = (more: string): void => {
    text += more
    look(false)
  }
  const socket = get.isTls ? openTls(get, take) : openTcp(get, take)
  const timer = setTimeout(() => {
    const dialled = `dial tcp ${renderAddress(get.host, get.port)}: i/o timeout (Client.Timeout exceeded while awaiting headers)`
    finish({ trouble: isConnected ? deadlineExceeded : dialled })
  }, timeoutMs)
  socket.once('connect', () => (isConnected = true))
  socket.once('end', () => look(true))
  socket.on('error', (error) => finish({ trouble: describeTrouble(error, get.host, get.port) }))
  socket.write(head, 'utf8')
  return promise
}

function openTcp({ host, port }: HttpGet, take: (text: string) => void): Socket {
  const callback = (length: number): boolean => {
    take(buffer.toString('latin1', 0, length))
    return true
  }
  return connectTcp({ host, port, onread: { buffer, callback } })
}

function openTls({ host, port }: HttpGet, take: (text: string) => void): Socket {
  const name = isIP(host) === 0 ? { servername: host } : {}
  const socket = connectTls({ host, port, ...name, rejectUnauthorized: false, ALPNProtocols: ['http/1.1'] })
  return socket.on('data', (data: Buffer) => take(data.toString('latin1')))
}
