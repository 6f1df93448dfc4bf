import type { OtlpSender } from './answer.ts'
import type { OtlpSignal, OtlpTarget } from './settings.ts'

/** A sender that is made with its first request: what it needs of node is not loaded before there is something to send. */
export function createSender(target: OtlpTarget, signalName: OtlpSignal): OtlpSender {
  let opened: Promise<OtlpSender> | undefined
  const open = async (): Promise<OtlpSender> =>
    target.protocol === 'grpc'
      ? (await import('./grpc.ts')).createGrpcSender(target, signalName)
      : await (await import('./http.ts')).createHttpSender(target)
  return {
    send: async (body, signal) => await (await (opened ??= open())).send(body, signal),
    close: () => void opened?.then((sender) => sender.close()),
  }
}
