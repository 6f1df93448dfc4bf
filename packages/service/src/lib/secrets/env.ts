import type { DriverOptions, SecretDriver } from './driver.ts'
import { ProviderFault } from './fault.ts'

/** `env://DB_PASSWORD`: for development and for platforms that have nothing else. Never changes while the process runs. */
export function createEnvDriver({ env }: Pick<DriverOptions, 'env'>): SecretDriver {
  return {
    provider: 'the environment',
    async read({ name }) {
      const value = env[name]
      if (value !== undefined) return { value, version: undefined }
      throw new ProviderFault('absent', `the variable ${JSON.stringify(name)} is not set`, `Set ${name}`)
    },
  }
}
