import { decode, encode } from 'dns-packet'
import type { Answer, DecodedPacket, Packet, Question } from 'dns-packet'
import { clusterTtlSeconds } from './dns-zone.ts'

/** A question in the form in which it came, with what an answer must repeat. */
export interface DnsRequest {
  readonly id: number
  readonly question: Question
  /** The client sent an OPT record (RFC 6891), so the answer carries one. */
  readonly hasEdns: boolean
  /** Longest UDP answer the client takes. */
  readonly udpSize: number
  readonly wantsRecursion: boolean
}

/** Response codes used here (RFC 1035 section 4.1.1). */
export const responseCode = { ok: 0, badFormat: 1, serverFailure: 2, noName: 3, notImplemented: 4, refused: 5 } as const

// Larger UDP answers are fragmented on common paths (DNS flag day 2020).
const largestUdpSize = 1232

/** Reads a query with exactly one question; a number is the response code to refuse it with, undefined means: no answer at all. */
export function parseRequest(bytes: Buffer): DnsRequest | number | undefined {
  if (bytes.length < 12 || (bytes[2] ?? 0) >> 7 === 1) return undefined
  if ((((bytes[2] ?? 0) >> 3) & 15) !== 0) return responseCode.notImplemented
  let packet: DecodedPacket
  try {
    packet = decode(bytes)
  } catch {
    return responseCode.badFormat
  }
  const [question, ...others] = packet.questions ?? []
  if (question === undefined || others.length > 0) return responseCode.badFormat
  const options = packet.additionals?.find((record) => record.type === 'OPT')
  const offered = options !== undefined && 'udpPayloadSize' in options ? (options.udpPayloadSize ?? 512) : 512
  return {
    id: bytes.readUInt16BE(0),
    question,
    hasEdns: options !== undefined,
    udpSize: Math.min(Math.max(offered, 512), largestUdpSize),
    wantsRecursion: packet.flag_rd,
  }
}

/** What an answer says, beyond what it repeats of the request. */
export interface DnsResponse {
  readonly code: number
  readonly answers?: readonly Answer[] | undefined
  /** The zone to name in the SOA record of a negative answer (RFC 2308), which lets resolvers keep it. */
  readonly zone?: string | undefined
  readonly isAuthoritative: boolean
}

/** Writes an answer. With `maxBytes`, one that is longer is cut to its header with TC set: the client asks again over TCP. */
export function renderResponse(request: DnsRequest, response: DnsResponse, maxBytes = 65_535): Buffer {
  const whole = renderPacket(request, response, 0)
  if (whole.length <= maxBytes) return whole
  return renderPacket(request, { ...response, answers: [] }, 1 << 9)
}

/** Writes an answer to a query that could not be read. */
export function renderRefusal(bytes: Buffer, code: number): Buffer {
  const header = Buffer.alloc(12)
  bytes.copy(header, 0, 0, 2)
  header.writeUInt16BE((1 << 15) | (bytes.readUInt16BE(2) & 0x79_00) | code, 2)
  return header
}

function renderPacket(request: DnsRequest, response: DnsResponse, extraFlags: number): Buffer {
  const { code, answers = [], zone, isAuthoritative } = response
  const recursion = 1 << 7
  const flags = code | recursion | extraFlags | (isAuthoritative ? 1 << 10 : 0) | (request.wantsRecursion ? 1 << 8 : 0)
  const packet: Packet = {
    type: 'response',
    id: request.id,
    flags,
    questions: [request.question],
    answers: [...answers],
    authorities: zone === undefined || answers.length > 0 ? [] : [startOfAuthority(zone)],
    additionals: request.hasEdns
      ? [
          {
            type: 'OPT',
            name: '.',
            udpPayloadSize: largestUdpSize,
            flags: 0,
            options: [],
            extendedRcode: 0,
            ednsVersion: 0,
            flag_do: false,
          },
        ]
      : [],
  }
  return encode(packet)
}

function startOfAuthority(zone: string): Answer {
  return {
    type: 'SOA',
    name: zone,
    ttl: clusterTtlSeconds,
    data: {
      mname: `ns.dns.${zone}`,
      rname: `hostmaster.${zone}`,
      serial: 1,
      refresh: 7200,
      retry: 1800,
      expire: 86_400,
      minimum: clusterTtlSeconds,
    },
  }
}
