import type { Duplex, Readable, Writable } from 'node:stream'

/** How the API server reaches the agent of a node. */
export interface Kubelet {
  fetch(request: KubeletRequest): Promise<KubeletResponse>
  /** Finds a running container; rejects with what the client is told when there is none. */
  openContainer(target: ContainerTarget): Promise<RemoteContainer>
  /** Finds a running pod, to reach its ports. */
  openPod(target: PodTarget): Promise<RemotePod>
}

export interface KubeletRequest {
  readonly method: string
  /** Path with query, such as `/containerLogs/<namespace>/<pod>/<container>?follow=true`. */
  readonly path: string
  readonly headers?: Readonly<Record<string, string>> | undefined
  readonly body?: Uint8Array | undefined
  /** Aborts when the client went away. */
  readonly signal: AbortSignal
}

export interface KubeletResponse {
  readonly status: number
  readonly headers: Readonly<Record<string, string>>
  readonly body: AsyncIterable<Uint8Array>
}

export interface PodTarget {
  readonly namespace: string
  readonly name: string
  readonly uid: string
}

export interface ContainerTarget extends PodTarget {
  readonly container: string
}

/** A running container, for those who stream to and from it. */
export interface RemoteContainer {
  /** Starts a program; rejects with the runtime's own words. */
  exec(options: { args: readonly string[]; stdin: boolean; tty: boolean }): Promise<RemoteProcess>
  attach(options: { stdin: boolean }): Promise<RemoteProcess>
}

/** A program with its streams at hand; what is not read holds it up. */
export interface RemoteProcess {
  readonly stdin: Writable | undefined
  /** With a terminal all output. */
  readonly stdout: Readable
  readonly stderr: Readable | undefined
  resize(columns: number, rows: number): Promise<void>
  /** Resolves with the exit code; undefined when it was only attached to. */
  readonly ended: Promise<number | undefined>
  /** Nobody is at the other end any more. */
  hangUp(): void
}

export interface RemotePod {
  /** Connects to a port as a program in the pod would by `localhost`; rejects when nobody listens. */
  connect(port: number): Promise<Duplex>
}
