import type { Duplex, Readable, Writable } from 'node:stream'
import { pipeline } from 'node:stream/promises'
import type { Status } from '@fairlead/kube/types'

import type { RemoteProcess } from '../kubelet.ts'
import { internalError } from '../status.ts'
import { openSpdyCommand } from './command-spdy.ts'
import { openWebSocketCommand } from './command-websocket.ts'
import type { Negotiated } from './negotiate.ts'

/** Which streams of a command a client asked for. */
export interface CommandOptions {
  readonly stdin: boolean
  readonly stdout: boolean
  readonly stderr: boolean
  readonly tty: boolean
}

/** The client's ends of a command's streams. */
export interface CommandStreams {
  readonly stdin: Readable | undefined
  readonly stdout: Writable | undefined
  readonly stderr: Writable | undefined
  /** Told of every size of the client's terminal; resolves when the one that came before has been taken in. */
  onSize(listener: (columns: number, rows: number) => Promise<void>): Promise<void>
  /** Says how it ended and closes the connection. */
  finish(status: Status): Promise<void>
  /** Resolves when the connection is gone; never rejects. */
  readonly gone: Promise<void>
}

export const commandOffer = {
  webSocket: [
    'v5.channel.k8s.io',
    'v4.channel.k8s.io',
    'v4.base64.channel.k8s.io',
    'v3.channel.k8s.io',
    'v2.channel.k8s.io',
    'channel.k8s.io',
    'base64.channel.k8s.io',
  ],
  spdy: ['v5.channel.k8s.io', 'v4.channel.k8s.io', 'v3.channel.k8s.io', 'v2.channel.k8s.io', 'channel.k8s.io'],
} as const

/** Connects a client to a program from its start to its end. */
export async function runCommandOn(
  connection: Duplex,
  negotiated: Negotiated,
  options: CommandOptions,
  start: () => Promise<RemoteProcess>,
): Promise<void> {
  const streams =
    negotiated.transport === 'websocket'
      ? openWebSocketCommand(connection, negotiated.protocol, options)
      : await openSpdyCommand(connection, negotiated.protocol, options)
  if (streams === undefined) return
  const started = await start().catch((error: unknown) => statusOfFailure(error))
  if ('status' in started) return await streams.finish(started)
  await connect(streams, started)
}

async function connect(streams: CommandStreams, program: RemoteProcess): Promise<void> {
  void streams.gone.then(() => program.hangUp())
  const outputs = [copyOutput(program.stdout, streams.stdout)]
  if (program.stderr !== undefined) outputs.push(copyOutput(program.stderr, streams.stderr))
  // A program asked something before its terminal has its size would answer for another.
  await streams.onSize((columns, rows) => program.resize(columns, rows))
  void copyInput(streams.stdin, program.stdin)
  const exitCode = await program.ended
  await Promise.race([Promise.all(outputs), streams.gone])
  await streams.finish(statusOfExit(exitCode))
}

/** A program that does not read to the end is no failure, nor is a client that leaves. */
async function copyInput(from: Readable | undefined, to: Writable | undefined): Promise<void> {
  if (from === undefined) return void to?.end()
  if (to === undefined) return void from.resume()
  await pipeline(from, to).catch(() => {})
  // What nobody reads any more still has to be taken from the connection, or the rest of it would not get through.
  if (!from.destroyed) from.resume()
}

async function copyOutput(from: Readable, to: Writable | undefined): Promise<void> {
  if (to === undefined) return void from.resume()
  await pipeline(from, to).catch(() => {})
}

function statusOfFailure(error: unknown): Status & { status: string } {
  const message = error instanceof Error ? error.message : String(error)
  const { status } = internalError(`error executing command in container: failed to exec in container: ${message}`)
  return { ...status, status: 'Failure' }
}

/** `remotecommand.NewForbiddenError` and friends: the exit code is a cause of the failure. */
function statusOfExit(exitCode: number | undefined): Status {
  if (exitCode === undefined || exitCode === 0) return { metadata: {}, status: 'Success' }
  return {
    metadata: {},
    status: 'Failure',
    message: `command terminated with non-zero exit code: exit status ${exitCode}`,
    reason: 'NonZeroExitCode',
    details: { causes: [{ reason: 'ExitCode', message: String(exitCode) }] },
  }
}
