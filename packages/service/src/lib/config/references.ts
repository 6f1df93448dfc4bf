import type { Environment } from '../lifecycle/resource.ts'
import type { Logger } from '../log/logger.ts'
import type { Metrics } from '../metrics/metrics.ts'
import type { Secret } from '../secrets/secret.ts'
import type { Secrets } from '../secrets/secrets.ts'

/** Reads the secrets that values refer to. */
export interface ReferenceReader extends AsyncDisposable {
  /** Whether there was a reference. */
  readonly isUsed: boolean
  read(reference: string): Promise<Secret>
  /** Throws while a secret that was read before cannot be read again. */
  check(): void
}

/** Secrets are opened for the first reference there is: most configurations have none. */
export function createReferenceReader(
  options: {
    readonly env?: Environment | undefined
    readonly log?: Logger | undefined
    readonly metrics?: Metrics | undefined
  },
  onChange: () => void,
): ReferenceReader {
  const watched = new Set<string>()
  let opening: Promise<Secrets> | undefined
  let opened: Secrets | undefined
  const open = async (): Promise<Secrets> => {
    const { openSecrets } = await import('../secrets/secrets.ts')
    return (opened = openSecrets(options))
  }
  return {
    get isUsed() {
      return opening !== undefined
    },
    async read(reference) {
      const handle = (await (opening ??= open())).secret(reference)
      const secret = await handle.get()
      if (!watched.has(reference)) handle.onChange(onChange)
      watched.add(reference)
      return secret
    },
    check() {
      const failing = opened?.health().secrets.find(({ error }) => error !== undefined)
      if (failing !== undefined) throw new Error(failing.error)
    },
    async [Symbol.asyncDispose]() {
      await (await opening)?.close()
    },
  }
}
