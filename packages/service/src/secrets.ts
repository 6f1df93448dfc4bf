/**
 * Secrets of files, Kubernetes, AWS, Google Cloud, Azure and Vault by one kind of reference: cached, rotated, never printed.
 *
 * ```ts
 * import { openSecrets } from '@fairlead/service/secrets'
 *
 * await using secrets = openSecrets({ env: { DB: '{"user":"orders","password":"s3cret"}' } })
 * const password = secrets.secret('env://DB#password')
 * console.log(`as text: ${await password.get()}, as value: ${(await password.get()).reveal().length} characters`)
 * ```
 */
export { isSecretReference } from './lib/secrets/reference.ts'
export { openSecrets, resolveSecretReference, secret, secrets } from './lib/secrets/secrets.ts'
export type {
  SecretHandles,
  SecretResourceOptions,
  Secrets,
  SecretsHealth,
  SecretsOptions,
  SecretStatus,
} from './lib/secrets/secrets.ts'
export { Secret } from './lib/secrets/secret.ts'
export type { SecretChange, SecretHandle, SecretUse, UseOptions } from './lib/secrets/handle.ts'
export type { SecretState } from './lib/secrets/source.ts'
