import { createSocket } from 'node:dgram'
import { createServer } from 'node:net'
import type { Server, Socket } from 'node:net'
import { once } from 'node:events'
import type { Socket as UdpSocket } from 'node:dgram'
import { decode, encode } from 'dns-packet'
import type { Answer } from 'dns-packet'
import { parseRequest, renderRefusal, renderResponse, responseCode } from './dns-message.ts'
import type { DnsRequest } from './dns-message.ts'
import type { DnsForwarder } from './dns-forwarder.ts'
import { answerQuestion, reverseAddress } from './dns-zone.ts'
import { cidrContains, parseCidr } from './cidr.ts'
import type { ZoneEntries } from './dns-zone.ts'
import { listenFailed } from '../errors.ts'

/** A name server that is listening. */
export interface DnsServer {
  readonly host: string
  readonly port: number
  close(): Promise<void>
}

/** Options of {@link openDnsServer}. */
export interface DnsServerOptions {
  readonly host: string
  /** Taken when it is free, else any free one. Default: any. */
  readonly preferredPort?: number | undefined
  readonly entries: ZoneEntries
  readonly forwarder: DnsForwarder
  /** Address ranges of the cluster: their reverse names are not asked for outside. */
  readonly ranges?: readonly string[] | undefined
  /** Default `cluster.local`. */
  readonly domain?: string | undefined
}

const maxConnections = 128
const idleMs = 10_000

/** Opens the cluster's name server on UDP and TCP: its own zone from `entries`, everything else from the forwarder. */
export async function openDnsServer(options: DnsServerOptions): Promise<DnsServer> {
  const { host, entries, forwarder, domain = 'cluster.local' } = options
  const ranges = (options.ranges ?? []).map((text) => parseCidr(text)).filter((range) => range !== undefined)
  const { udp, tcp, port } = await bindBoth(host, options.preferredPort ?? 0)
  const connections = new Set<Socket>()
  let closing = false

  udp.on('message', async (query, client) => {
    const bytes = await answer(query, 'udp')
    // The socket may be closed by now: nobody is left to tell.
    if (bytes !== undefined && !closing) udp.send(bytes, client.port, client.address, () => {})
  })
  udp.on('error', () => {})
  tcp.on('connection', (socket) => {
    connections.add(socket)
    socket.on('close', () => connections.delete(socket))
    serveStream(socket, (query) => answer(query, 'tcp'))
  })

  async function answer(query: Buffer, transport: 'udp' | 'tcp'): Promise<Buffer | undefined> {
    const request = parseRequest(query)
    if (request === undefined) return undefined
    if (typeof request === 'number') return renderRefusal(query, request)
    try {
      return await answerRequest(request, query, transport)
    } catch {
      // A record that cannot be written, such as a name with a label that is too long, concerns this question only.
      return renderRefusal(query, responseCode.serverFailure)
    }
  }

  async function answerRequest(
    request: DnsRequest,
    query: Buffer,
    transport: 'udp' | 'tcp',
  ): Promise<Buffer | undefined> {
    const maxBytes = transport === 'udp' ? request.udpSize : undefined
    const reply = answerQuestion(request.question, entries, domain)
    if (reply.status === 'foreign') return forward(request, query, transport)
    if (reply.status !== 'answer') {
      const code = reply.status === 'no-name' ? responseCode.noName : responseCode.ok
      return renderResponse(request, { code, zone: domain, isAuthoritative: true }, maxBytes)
    }
    const further = reply.elsewhere === undefined ? [] : await follow(reply.elsewhere, request)
    const answers = [...shuffled(reply.answers), ...further]
    return renderResponse(request, { code: responseCode.ok, answers, isAuthoritative: true }, maxBytes)
  }

  async function forward(request: DnsRequest, query: Buffer, transport: 'udp' | 'tcp'): Promise<Buffer> {
    const address = reverseAddress(request.question.name.toLowerCase())
    if (address !== undefined && ranges.some((range) => cidrContains(range, address))) {
      return renderResponse(request, { code: responseCode.noName, isAuthoritative: true })
    }
    // Pods have no IPv6: an address they cannot reach would only cost them a failed attempt.
    if (request.question.type === 'AAAA') {
      return renderResponse(request, { code: responseCode.ok, isAuthoritative: false })
    }
    const answered = await forwarder.ask(query, transport)
    return answered ?? renderResponse(request, { code: responseCode.serverFailure, isAuthoritative: false })
  }

  /** Records of the name an alias leads to, from the servers outside. */
  async function follow(name: string, { question }: DnsRequest): Promise<Answer[]> {
    if (question.type === 'AAAA') return []
    const query = encode({ type: 'query', id: 0, flags: 1 << 8, questions: [{ ...question, name }] })
    const bytes = await forwarder.ask(query, 'udp')
    if (bytes === undefined) return []
    try {
      return decode(bytes).answers ?? []
    } catch {
      return []
    }
  }

  return {
    host,
    port,
    async close() {
      closing = true
      for (const socket of connections) socket.destroy()
      const closed = [once(udp, 'close'), once(tcp, 'close')]
      udp.close()
      tcp.close()
      await Promise.all(closed)
    },
  }
}

async function bindBoth(host: string, preferred: number): Promise<{ udp: UdpSocket; tcp: Server; port: number }> {
  let failure: unknown
  // The port TCP got by chance may be taken for UDP.
  for (const port of [preferred, 0, 0, 0, 0]) {
    const tcp = createServer({ keepAlive: true }).listen({ host, port })
    tcp.maxConnections = maxConnections
    const udp = createSocket('udp4')
    try {
      await once(tcp, 'listening')
      const address = tcp.address()
      const bound = typeof address === 'object' && address !== null ? address.port : port
      udp.bind(bound, host)
      await once(udp, 'listening')
      return { udp, tcp, port: bound }
    } catch (error) {
      failure = error
      tcp.close()
      udp.close()
    }
  }
  throw listenFailed(`${host}:${preferred}`, failure)
}

/** Reads length-prefixed queries (RFC 1035 section 4.2.2) and answers each when it is ready. */
function serveStream(socket: Socket, answer: (query: Buffer) => Promise<Buffer | undefined>): void {
  let held = Buffer.alloc(0)
  socket.setTimeout(idleMs, () => socket.destroy())
  socket.on('error', () => socket.destroy())
  socket.on('data', (chunk: Buffer) => {
    held = Buffer.concat([held, chunk])
    // Answers may overtake each other (RFC 7766 section 6.2.1.1).
    while (held.length >= 2 && held.length >= 2 + held.readUInt16BE(0)) {
      const query = Buffer.from(held.subarray(2, 2 + held.readUInt16BE(0)))
      held = held.subarray(2 + query.length)
      void respond(query)
    }
  })

  async function respond(query: Buffer): Promise<void> {
    const bytes = await answer(query)
    if (bytes === undefined || !socket.writable) return
    const length = Buffer.alloc(2)
    length.writeUInt16BE(bytes.length)
    socket.write(Buffer.concat([length, bytes]))
  }
}

/** Clients take the first address: a new order each time spreads them. Aliases stay before what they lead to. */
function shuffled(answers: readonly Answer[]): Answer[] {
  if (answers.some(({ type }) => type === 'CNAME')) return [...answers]
  const order = answers.map((answer) => ({ answer, rank: Math.random() }))
  return order.toSorted((a, b) => a.rank - b.rank).map(({ answer }) => answer)
}
