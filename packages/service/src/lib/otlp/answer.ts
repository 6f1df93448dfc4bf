/** What became of one attempt to hand data to a collector. */
export type Answer =
  /** Taken; `rejected` of it was not, and `message` says why (a warning when none was rejected). */
  | { readonly kind: 'taken'; readonly rejected: number; readonly message?: string | undefined }
  /** May be tried again, not before `afterMs` when the collector says so. */
  | { readonly kind: 'retry'; readonly reason: string; readonly afterMs?: number | undefined }
  /** The collector will never take it. */
  | { readonly kind: 'refused'; readonly reason: string }

/** Hands requests to a collector. */
export interface OtlpSender {
  /** Resolves always. Aborting `signal` ends the attempt with `retry`. */
  send(body: Buffer, signal?: AbortSignal): Promise<Answer>
  close(): void
}

/** Answers above this are not read: a collector has little to say. */
export const answerLimitBytes: number = 64 * 1024

interface Field {
  readonly number: number
  readonly value: number | Buffer
}

/** The fields of a protobuf message; what cannot be read ends the list. */
function* readFields(bytes: Buffer): Generator<Field> {
  let at = 0
  const varint = (): number => {
    let value = 0
    for (let shift = 0; at < bytes.length && shift < 64; shift += 7) {
      const byte = bytes[at++] ?? 0
      value += (byte & 0x7f) * 2 ** shift
      if (byte < 0x80) break
    }
    return value
  }
  while (at < bytes.length) {
    const tag = varint()
    const number = Math.floor(tag / 8)
    const wireType = tag % 8
    if (wireType === 0) yield { number, value: varint() }
    else if (wireType === 2) {
      const size = varint()
      if (at + size > bytes.length) return
      yield { number, value: bytes.subarray(at, at + size) }
      at += size
    } else if (wireType === 1) at += 8
    else if (wireType === 5) at += 4
    else return
  }
}

/** `partial_success` of an Export...ServiceResponse, which traces and metrics have alike. */
export function readExportResponse(bytes: Buffer): Answer {
  let rejected = 0
  let message: string | undefined
  for (const response of readFields(bytes)) {
    if (response.number !== 1 || !Buffer.isBuffer(response.value)) continue
    for (const { number, value } of readFields(response.value)) {
      if (number === 1 && typeof value === 'number') rejected = value
      if (number === 2 && Buffer.isBuffer(value)) message = value.toString('utf8')
    }
  }
  return { kind: 'taken', rejected, ...(message ? { message } : {}) }
}

/** The same in JSON. */
export function readExportResponseJson(text: string): Answer {
  try {
    const response = JSON.parse(text) as { partialSuccess?: Record<string, unknown> } | null
    const partial = response?.partialSuccess ?? {}
    const rejected = Number(partial['rejectedSpans'] ?? partial['rejectedDataPoints'] ?? 0)
    const message = partial['errorMessage']
    return { kind: 'taken', rejected, ...(typeof message === 'string' && message !== '' ? { message } : {}) }
  } catch {
    // It was taken, whatever it says of it.
    return { kind: 'taken', rejected: 0 }
  }
}

/** The delay of a `google.rpc.RetryInfo` in a `google.rpc.Status`, in milliseconds. */
export function readRetryInfo(status: Buffer): number | undefined {
  for (const { number, value } of readFields(status)) {
    if (number !== 3 || !Buffer.isBuffer(value)) continue
    const any = [...readFields(value)]
    const type = any.find((field) => field.number === 1)?.value
    const detail = any.find((field) => field.number === 2)?.value
    if (String(type).endsWith('google.rpc.RetryInfo') && Buffer.isBuffer(detail)) return readDelay(detail)
  }
  return undefined
}

/** The `message` of a `google.rpc.Status`. */
export function readStatusMessage(status: Buffer): string | undefined {
  const message = [...readFields(status)].find((field) => field.number === 2)?.value
  return Buffer.isBuffer(message) ? message.toString('utf8').slice(0, 500) : undefined
}

/** `retry_delay`, a `google.protobuf.Duration`. */
function readDelay(retryInfo: Buffer): number | undefined {
  const duration = [...readFields(retryInfo)].find((field) => field.number === 1)?.value
  if (!Buffer.isBuffer(duration)) return undefined
  let delayMs = 0
  for (const { number, value } of readFields(duration)) {
    if (typeof value === 'number') delayMs += number === 1 ? value * 1000 : value / 1e6
  }
  return delayMs
}
