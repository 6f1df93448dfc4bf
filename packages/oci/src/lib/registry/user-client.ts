import { createRegistryClient } from './client.ts'
import { isThisMachine } from './exchange.ts'
import type { RegistryClient } from './client.ts'
import type { RegistryClientOptions } from './exchange.ts'
import { createKeychain } from './credentials.ts'
import { loadRegistryRoutes } from './mirrors.ts'
import type { RegistryRoutes } from './mirrors.ts'

/** Whose client, and what is asked before the files of that user. */
export interface UserClientOptions extends Omit<RegistryClientOptions, 'sources'> {
  /** Default: the environment of this process. */
  env?: NodeJS.ProcessEnv | undefined
}

/**
 * A client as the user has set registries up: with the credentials of {@link createKeychain}, and reading from the
 * mirrors that `registries.json` in `FAIRLEAD_HOME` names. Files are read when they are first needed; then
 * `FAIRLEAD_OCI_REGISTRIES` or `FAIRLEAD_OCI_CREDENTIALS` when one cannot be used.
 */
export function createUserClient(options: UserClientOptions = {}): RegistryClient {
  const { env = process.env, credentials, isPlainHttp, ...rest } = options
  const keychain = createKeychain({ env })
  let routes: RegistryRoutes | undefined
  const loaded = (): RegistryRoutes => (routes ??= loadRegistryRoutes(env))
  return createRegistryClient({
    ...rest,
    credentials: async (registry, signal) =>
      (await credentials?.(registry, signal)) ?? (await keychain.get(registry, signal)),
    isPlainHttp: (host) => isPlainHttp?.(host) === true || isThisMachine(host) || loaded().isPlainHttp(host),
    sources: (reference) => loaded().sourcesOf(reference),
  })
}
