// A name server for tests: answers what it is told to, over UDP, with the few record types that are needed (RFC 1035, RFC 2782).
import { createSocket } from 'node:dgram'
import { isIPv6 } from 'node:net'

export interface FakeRecord {
  readonly type: 'A' | 'AAAA' | 'SRV'
  readonly ttl?: number
  /** An address; for SRV `priority weight port target`. */
  readonly data: string
}

export interface FakeDns extends AsyncDisposable {
  /** `127.0.0.1:port` */
  readonly address: string
  /** By name in lower case. A name that is not there does not exist. */
  readonly zone: Map<string, readonly FakeRecord[]>
  /** Instead of an answer: `drop` says nothing, `fail` answers SERVFAIL. */
  mode: 'answer' | 'drop' | 'fail'
  /** `A orders.shop` for each question. */
  readonly questions: string[]
}

const types = { A: 1, AAAA: 28, SRV: 33 } as const

export async function startFakeDns(): Promise<FakeDns> {
  const socket = createSocket('udp4')
  const fake = {
    address: '',
    zone: new Map<string, readonly FakeRecord[]>(),
    mode: 'answer' as FakeDns['mode'],
    questions: [] as string[],
    async [Symbol.asyncDispose]() {
      await new Promise<void>((resolve) => socket.close(resolve))
    },
  }
  socket.on('message', (message, { port, address }) => {
    const { name, type, end } = readQuestion(message)
    fake.questions.push(`${Object.entries(types).find(([, code]) => code === type)?.[0] ?? type} ${name}`)
    if (fake.mode === 'drop') return
    const known = fake.zone.get(name)
    const records = fake.mode === 'answer' ? (known ?? []).filter((record) => types[record.type] === type) : []
    const code = fake.mode === 'fail' ? 2 : known === undefined ? 3 : 0
    const header = Buffer.alloc(12)
    message.copy(header, 0, 0, 2)
    header.writeUInt16BE(0x8580 | code, 2)
    header.writeUInt16BE(1, 4)
    header.writeUInt16BE(records.length, 6)
    socket.send(Buffer.concat([header, message.subarray(12, end), ...records.map(renderRecord)]), port, address)
  })
  await new Promise<void>((resolve) => socket.bind(0, '127.0.0.1', resolve))
  return Object.assign(fake, { address: `127.0.0.1:${socket.address().port}` })
}

function readQuestion(message: Buffer): { name: string; type: number; end: number } {
  const labels: string[] = []
  let at = 12
  for (let length = message[at] ?? 0; length > 0; length = message[at] ?? 0) {
    labels.push(message.toString('latin1', at + 1, at + 1 + length))
    at += 1 + length
  }
  return { name: labels.join('.').toLowerCase(), type: message.readUInt16BE(at + 1), end: at + 5 }
}

function renderRecord({ type, ttl = 30, data }: FakeRecord): Buffer {
  const content = renderData(type, data)
  const head = Buffer.alloc(12)
  // The name is that of the question.
  head.writeUInt16BE(0xc00c, 0)
  head.writeUInt16BE(types[type], 2)
  head.writeUInt16BE(1, 4)
  head.writeUInt32BE(ttl, 6)
  head.writeUInt16BE(content.length, 10)
  return Buffer.concat([head, content])
}

function renderData(type: FakeRecord['type'], data: string): Buffer {
  if (type === 'A') return Buffer.from(data.split('.').map(Number))
  if (type === 'AAAA') return renderAddress6(data)
  const [priority, weight, port, target = ''] = data.split(' ')
  const numbers = Buffer.alloc(6)
  for (const [index, value] of [priority, weight, port].entries()) numbers.writeUInt16BE(Number(value), index * 2)
  const labels = target.split('.').filter((label) => label !== '')
  const name = labels.flatMap((label) => [Buffer.from([label.length]), Buffer.from(label)])
  return Buffer.concat([numbers, ...name, Buffer.from([0])])
}

function renderAddress6(text: string): Buffer {
  if (!isIPv6(text)) throw new TypeError(`Not an IPv6 address: ${text}`)
  const [head = '', tail] = text.split('::')
  const [before, after] = [head, tail ?? ''].map((part) => part.split(':').filter((group) => group !== ''))
  const missing = 8 - (before?.length ?? 0) - (after?.length ?? 0)
  const groups = [...(before ?? []), ...(Array(missing).fill('0') as string[]), ...(after ?? [])]
  return Buffer.from(groups.map((group) => group.padStart(4, '0')).join(''), 'hex')
}
