import type { Paint } from './terminal.ts'
import { indent } from './text.ts'

/** The shape of an error of ours; there is no class to share. */
interface CodedError {
  readonly code: string
  readonly hint?: string
}

/** Codes that say: the input is wrong, not the world. */
const badInput = [
  /^FAIRLEAD_CLI_(CONFIG_ABSENT|CONFIG_LOAD|INIT|INPUT|USAGE)$/,
  /^FAIRLEAD_DELIVERY_APP_/,
  /^FAIRLEAD_BUILD_(EJECT|ENTRY|LOCKFILE|PLATFORM|PROGRAM|SOURCE|SCAN_SOURCE|SCAN_VEX|SECRET_ALLOW)$/,
  /^FAIRLEAD_KUBE_KUBECONFIG$/,
  /^FAIRLEAD_OCI_(IMAGE_POLICY|KEY|PLATFORM|POLICY|REFERENCE|REGISTRY_SETTING)$/,
]

/** Exit code for an error: 2 for bad usage or bad input, 1 for everything else. */
export function exitCodeOf(error: unknown): 1 | 2 {
  const code = isCoded(error) ? error.code : ''
  return badInput.some((pattern) => pattern.test(code)) ? 2 : 1
}

/** What a person reads: the message, causes and parts indented, the hint, and where more is told. */
export function renderError(error: unknown, paint: Paint, options: { readonly stack: boolean }): string {
  const lines = [`${paint('red', 'error:')} ${messageOf(error)}`, ...renderParts(error).map((part) => indent(part))]
  if (isCoded(error)) {
    if (error.hint !== undefined) lines.push(`${paint('yellow', 'hint:')} ${error.hint}`)
    if (error.code.startsWith('FAIRLEAD_')) lines.push(paint('dim', `more: fairlead explain ${error.code}`))
  }
  if (options.stack && error instanceof Error) lines.push(paint('dim', error.stack ?? ''))
  return lines.join('\n')
}

/** Parts of an aggregate and the cause, each with its own parts below it; what the message says already is left out. */
function renderParts(error: unknown, depth = 0): string[] {
  if (!(error instanceof Error) || depth > 8) return []
  const parts: unknown[] = error instanceof AggregateError ? error.errors : []
  const causes = error.cause === undefined || error.cause === null ? [] : [error.cause]
  return [...parts, ...causes].flatMap((part) => {
    const inner = renderParts(part, depth + 1)
    if (messageOf(error).includes(messageOf(part).trim())) return inner
    return [messageOf(part), ...inner.map((text) => indent(text))]
  })
}

function messageOf(error: unknown): string {
  if (!(error instanceof Error)) return String(error)
  return error.message === '' ? error.name : error.message
}

function isCoded(error: unknown): error is Error & CodedError {
  return error instanceof Error && 'code' in error && typeof error.code === 'string'
}
