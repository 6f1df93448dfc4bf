import { Readable, Writable } from 'node:stream'
import type { Duplex } from 'node:stream'
import { WebSocket } from '@fairlead/kube/streaming'

import type { CommandOptions, CommandStreams } from './command.ts'
import { TerminalSizes } from './sizes.ts'

const channels = { stdin: 0, stdout: 1, stderr: 2, error: 3, resize: 4, close: 255 } as const

/** The channels of a command as messages whose first byte is the channel; in base64 protocols its digit. */
export function openWebSocketCommand(connection: Duplex, protocol: string, options: CommandOptions): CommandStreams {
  const isBase64 = protocol.includes('base64')
  const sizes = new TerminalSizes()
  const stdin = new Readable({ highWaterMark: 256 << 10, read: () => webSocket.resume() })
  stdin.on('error', () => {})
  const webSocket = new WebSocket(connection, {
    role: 'server',
    onMessage: (data) => take(isBase64 ? decode(data) : data),
  })
  const gone = end()
  if (!options.stdin) stdin.push(null)

  async function end(): Promise<void> {
    await webSocket.ended
    stdin.destroy()
  }

  function take(message: Buffer): void {
    const [channel] = message
    if (channel === channels.stdin && options.stdin && !stdin.destroyed && !stdin.readableEnded) {
      if (message.length > 1 && !stdin.push(message.subarray(1))) webSocket.pause()
    } else if (channel === channels.resize) sizes.push(message.toString('utf8', 1))
    // v5: what is written to this channel is the number of one that gets no more.
    else if (channel === channels.close && message[1] === channels.stdin && protocol.startsWith('v5')) stdin.push(null)
  }

  async function send(channel: number, chunk: Buffer): Promise<void> {
    const isFree = isBase64
      ? webSocket.send([Buffer.from(`${channel}${chunk.toString('base64')}`)], 'text')
      : webSocket.send([Buffer.of(channel), chunk])
    if (!isFree) await webSocket.drained()
  }

  function output(channel: number): Writable {
    const stream = new Writable({
      write(chunk: Buffer, _encoding, done) {
        void whenSent(send(channel, chunk), done)
      },
    })
    stream.on('error', () => {})
    void gone.then(() => stream.destroy())
    return stream
  }

  // Tells the client that the connection stands, as upstream: an empty message on the first channel that is written to.
  void send(options.stdout ? channels.stdout : options.stderr ? channels.stderr : channels.error, Buffer.alloc(0))
  return {
    stdin: options.stdin ? stdin : undefined,
    stdout: options.stdout ? output(channels.stdout) : undefined,
    stderr: options.stderr && !options.tty ? output(channels.stderr) : undefined,
    onSize: (listener) => sizes.listen(listener),
    async finish(status) {
      const isPlain = !/^v[45]/.test(protocol)
      const text = isPlain ? (status.status === 'Success' ? '' : (status.message ?? '')) : JSON.stringify(status)
      await send(channels.error, Buffer.from(text))
      webSocket.close()
      await gone
    },
    gone,
  }
}

async function whenSent(sending: Promise<void>, done: () => void): Promise<void> {
  await sending
  done()
}

function decode(message: Buffer): Buffer {
  const channel = (message[0] ?? 0) - 0x30
  return Buffer.concat([Buffer.of(channel & 255), Buffer.from(message.toString('latin1', 1), 'base64')])
}
