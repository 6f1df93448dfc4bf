import { ProviderFault } from './fault.ts'

/** An access token of a cloud. */
export interface Token {
  readonly value: string
  /** Milliseconds since the epoch. */
  readonly expiresAt: number
}

/** Keeps a token until shortly before it expires; asks once for everybody who waits. */
export function createTokenCache(
  now: () => number,
  fetchToken: (signal: AbortSignal) => Promise<Token>,
): { get(signal: AbortSignal): Promise<string>; renew(): void } {
  let kept: Token | undefined
  let fetching: Promise<Token> | undefined
  const windowMs = 2 * 60_000
  return {
    async get(signal) {
      if (kept && now() < kept.expiresAt - windowMs) return kept.value
      fetching ??= fetchToken(signal)
        .then((token) => (kept = token))
        .finally(() => (fetching = undefined))
      try {
        return (await fetching).value
      } catch (error) {
        if (kept && now() < kept.expiresAt) return kept.value
        throw error
      }
    },
    renew() {
      kept = undefined
    },
  }
}

/** Credentials go over TLS, or to this machine. */
export function requireSafe(text: string, setting: string): URL {
  const url = URL.canParse(text) ? new URL(text) : undefined
  const isLocal = url !== undefined && /^(localhost|127(\.\d+){3}|\[::1\])$/.test(url.hostname)
  if (url?.protocol === 'https:' || (url?.protocol === 'http:' && isLocal)) return url
  throw new ProviderFault('denied', `${setting} is not an https URL`, `Correct ${setting}`)
}
