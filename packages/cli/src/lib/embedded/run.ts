import type { ClusterProcess } from './files.ts'

/** What the background process tells the one that started it, once. */
export type StartMessage =
  | { readonly type: 'ready'; readonly process: ClusterProcess }
  /** Another process runs this cluster. */
  | { readonly type: 'taken' }
  | {
      readonly type: 'failed'
      readonly error: {
        readonly message: string
        readonly code: string | undefined
        readonly hint: string | undefined
        readonly causes: readonly string[]
      }
    }

/** An error as it crosses the process border. */
export function toFailed(error: unknown): StartMessage {
  const [first, ...rest] = listCauses(error)
  return {
    type: 'failed',
    error: {
      message: first ?? 'Cannot start cluster "embedded": no reason was given',
      code: textOf(error, 'code'),
      hint: textOf(error, 'hint'),
      causes: rest,
    },
  }
}

function listCauses(error: unknown): string[] {
  return error instanceof Error ? [error.message, ...listCauses(error.cause)] : []
}

function textOf(error: unknown, key: 'code' | 'hint'): string | undefined {
  const value: unknown = error instanceof Error ? Reflect.get(error, key) : undefined
  return typeof value === 'string' ? value : undefined
}
