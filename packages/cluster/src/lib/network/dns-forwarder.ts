import { randomInt } from 'node:crypto'
import { createSocket } from 'node:dgram'
import { readFile } from 'node:fs/promises'
import { connect } from 'node:net'
import { decode } from 'dns-packet'
import { parseIpv4 } from './cidr.ts'

/** Asks other name servers. */
export interface DnsForwarder {
  /** Passes the query on and returns the answer's bytes with the query's id; undefined when nobody answered in time. */
  ask(query: Buffer, transport: 'udp' | 'tcp'): Promise<Buffer | undefined>
}

/** A name server's address. */
export interface NameServer {
  readonly host: string
  readonly port: number
}

/** Options of {@link createForwarder}. */
export interface ForwarderOptions {
  /** How long one server may take. Default 1,500. */
  readonly attemptMs?: number | undefined
  /** How long a query may take in all. Default 4,000, below the 5 s after which stub resolvers ask again. */
  readonly deadlineMs?: number | undefined
}

const maxCached = 2_000
const maxCachedSeconds = 30
const maxUnderWay = 512

interface Kept {
  answer: Buffer
  until: number
}

/**
 * Creates a forwarder to `servers`, tried in turn. Equal queries under way share one question, and answers are kept for
 * as long as their records allow, 30 seconds at most.
 */
export function createForwarder(servers: readonly NameServer[], options: ForwarderOptions = {}): DnsForwarder {
  const { attemptMs = 1_500, deadlineMs = 4_000 } = options
  const kept = new Map<string, Kept>()
  const underWay = new Map<string, Promise<Buffer | undefined>>()

  async function resolve(query: Buffer, transport: 'udp' | 'tcp'): Promise<Buffer | undefined> {
    const deadline = performance.now() + deadlineMs
    const ask = transport === 'udp' ? askUdp : askTcp
    // Every server once, then once more: a datagram may get lost.
    for (const server of [...servers, ...servers]) {
      const leftMs = deadline - performance.now()
      if (leftMs <= 0) return undefined
      const answer = await ask(server, query, Math.min(attemptMs, leftMs))
      if (answer !== undefined) return answer
    }
    return undefined
  }

  function keep(key: string, answer: Buffer): void {
    const seconds = secondsToKeep(answer)
    if (seconds <= 0) return
    if (kept.size >= maxCached) for (const oldest of [...kept.keys()].slice(0, maxCached / 10)) kept.delete(oldest)
    kept.set(key, { answer, until: performance.now() + seconds * 1000 })
  }

  return {
    async ask(query, transport) {
      if (servers.length === 0) return undefined
      // Everything but the id: flags and options shape the answer as much as the name does.
      const key = `${transport}${query.toString('latin1', 2)}`
      const known = kept.get(key)
      if (known !== undefined && known.until > performance.now()) return withId(known.answer, query)
      let asked = underWay.get(key)
      if (asked === undefined) {
        if (underWay.size >= maxUnderWay) return undefined
        asked = resolve(query, transport).finally(() => underWay.delete(key))
        underWay.set(key, asked)
      }
      const answer = await asked
      if (answer === undefined) return undefined
      keep(key, answer)
      return withId(answer, query)
    },
  }
}

/** The name servers of this machine, those of `own` addresses left out: they would ask themselves. */
export async function loadNameServers(own: readonly string[] = [], path = '/etc/resolv.conf'): Promise<NameServer[]> {
  const text = await readFile(path, 'utf8').catch(() => '')
  return parseNameServers(text).filter(({ host }) => !own.includes(host))
}

/** The IPv4 `nameserver` lines of a resolv.conf. */
export function parseNameServers(text: string): NameServer[] {
  return text
    .split('\n')
    .map((line) => /^\s*nameserver\s+(\S+)/.exec(line)?.[1])
    .filter((host) => host !== undefined && parseIpv4(host) !== undefined)
    .map((host) => ({ host: host ?? '', port: 53 }))
}

function askUdp({ host, port }: NameServer, query: Buffer, timeoutMs: number): Promise<Buffer | undefined> {
  const { promise, resolve } = Promise.withResolvers<Buffer | undefined>()
  // A socket, so a source port, per question, and a fresh id: an off-path forger has to guess both.
  const socket = createSocket('udp4')
  const question = withNewId(query)
  const finish = (answer: Buffer | undefined): void => {
    clearTimeout(timer)
    socket.removeAllListeners('message').close()
    resolve(answer)
  }
  const timer = setTimeout(() => finish(undefined), timeoutMs)
  socket.once('error', () => finish(undefined))
  socket.on('message', (answer) => {
    if (isAnswerTo(question, answer)) finish(answer)
  })
  socket.connect(port, host, () => socket.send(question))
  return promise
}

function askTcp({ host, port }: NameServer, query: Buffer, timeoutMs: number): Promise<Buffer | undefined> {
  const { promise, resolve } = Promise.withResolvers<Buffer | undefined>()
  const question = withNewId(query)
  const socket = connect({ host, port })
  const chunks: Buffer[] = []
  const finish = (answer: Buffer | undefined): void => {
    clearTimeout(timer)
    socket.destroy()
    resolve(answer)
  }
  const timer = setTimeout(() => finish(undefined), timeoutMs)
  const length = Buffer.alloc(2)
  length.writeUInt16BE(question.length)
  socket.on('error', () => finish(undefined))
  socket.on('close', () => finish(undefined))
  socket.on('data', (chunk) => {
    chunks.push(chunk)
    const bytes = Buffer.concat(chunks)
    if (bytes.length < 2 || bytes.length < 2 + bytes.readUInt16BE(0)) return
    const answer = bytes.subarray(2, 2 + bytes.readUInt16BE(0))
    finish(isAnswerTo(question, answer) ? answer : undefined)
  })
  socket.end(Buffer.concat([length, question]))
  return promise
}

function isAnswerTo(question: Buffer, answer: Buffer): boolean {
  if (answer.length < 12 || answer.readUInt16BE(0) !== question.readUInt16BE(0) || (answer[2] ?? 0) >> 7 !== 1)
    return false
  // The question section comes first after the header and is repeated as it was sent.
  const end = questionEnd(question)
  return answer.subarray(12, end).equals(question.subarray(12, end))
}

function questionEnd(query: Buffer): number {
  let at = 12
  while (at < query.length && query[at] !== 0) at += (query[at] ?? 0) + 1
  return Math.min(at + 5, query.length)
}

function withNewId(query: Buffer): Buffer {
  const copy = Buffer.from(query)
  copy.writeUInt16BE(randomInt(65_536), 0)
  return copy
}

function withId(answer: Buffer, query: Buffer): Buffer {
  const copy = Buffer.from(answer)
  query.copy(copy, 0, 0, 2)
  return copy
}

function secondsToKeep(answer: Buffer): number {
  try {
    const { answers = [], authorities = [], rcode, flag_tc: isCut } = { rcode: '', ...decode(answer) }
    if (isCut || (rcode !== 'NOERROR' && rcode !== 'NXDOMAIN')) return 0
    const records = answers.length > 0 ? answers : authorities.filter(({ type }) => type === 'SOA')
    const times = records.map((record) => ('ttl' in record ? (record.ttl ?? 0) : 0))
    return times.length === 0 ? 0 : Math.min(...times, maxCachedSeconds)
  } catch {
    return 0
  }
}
