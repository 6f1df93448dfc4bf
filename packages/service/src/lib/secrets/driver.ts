import type { Environment } from '../lifecycle/resource.ts'
import type { SecretReference, SecretScheme } from './reference.ts'

/** What a provider gave for a reference, before a field is taken from it. */
export interface SecretReading {
  /** Text, bytes, or several named entries. */
  readonly value: string | Uint8Array | Readonly<Record<string, unknown>>
  /** The provider's own name of this version. Undefined where it has none: then values are compared. */
  readonly version: string | undefined
  /** Read again after this time at the latest: a lease is to be renewed. */
  readonly refreshMs?: number | undefined
  /** The value is of no use after this time. */
  readonly expiresMs?: number | undefined
  /** What the driver wants to see again at the next reading: a lease. */
  readonly state?: unknown
}

export interface ReadOptions {
  readonly signal: AbortSignal
  /** What the last reading of this source gave. */
  readonly previous: SecretReading | undefined
}

/** Reads the secrets of one kind of provider. One driver serves all references of its scheme and keeps their credentials. */
export interface SecretDriver {
  /** As a message names it: `AWS Secrets Manager`. */
  readonly provider: string
  read(reference: SecretReference, options: ReadOptions): Promise<SecretReading>
  /** Calls `changed` when the source may have changed; returns how to end that. Only where it costs nothing. */
  watch?(reference: SecretReference, changed: () => void): () => void
  /** Gives back what a reading holds at the provider, such as a lease. Best effort. */
  release?(reading: SecretReading, signal: AbortSignal): Promise<void>
  /** Closes connections. */
  close?(signal: AbortSignal): Promise<void> | void
}

export interface DriverOptions {
  readonly env: Environment
  /** Of one call to the provider. */
  readonly timeoutMs: number
  /** Milliseconds since the epoch. */
  readonly now: () => number
}

/** Loads the code of one scheme: a service that reads files never loads the one that signs requests. */
export async function loadDriver(scheme: SecretScheme, options: DriverOptions): Promise<SecretDriver> {
  switch (scheme) {
    case 'file':
      return (await import('./file.ts')).createFileDriver()
    case 'env':
      return (await import('./env.ts')).createEnvDriver(options)
    case 'k8s':
      return (await import('./kubernetes.ts')).createKubernetesDriver(options)
    case 'aws-sm':
      return (await import('./aws.ts')).createSecretsManagerDriver(options)
    case 'aws-ssm':
      return (await import('./aws.ts')).createParameterStoreDriver(options)
    case 'gcp-sm':
      return (await import('./gcp.ts')).createGoogleDriver(options)
    case 'azkv':
      return (await import('./azure.ts')).createKeyVaultDriver(options)
    case 'vault':
      return (await import('./vault.ts')).createVaultDriver(options)
  }
}
