import { parseReference } from '@fairlead/oci'
import { findDockerAuths } from '@fairlead/oci/registry'
import type { Credentials, DockerAuth, RegistryClient } from '@fairlead/oci/registry'

/** Makes a client; `credentials` are asked first, and those of the user who runs the node after them. */
export type OpenRegistryClient = (
  credentials?: (registry: string) => Credentials | undefined,
) => RegistryClient | Promise<RegistryClient>

/** Those as whom a registry is asked for an image: each credential of the pod that fits, then the node. */
export async function* clientsFor(
  reference: string,
  auths: readonly DockerAuth[],
  open: OpenRegistryClient,
): AsyncGenerator<RegistryClient> {
  const name = parseReference(reference)
  for (const credentials of findDockerAuths(auths, name)) {
    yield open((registry) => (registry === name.registry ? credentials : undefined))
  }
  yield open()
}

/** Does something as the first client that the registry lets in; throws what the last one was told. */
export async function withClients<T>(
  clients: AsyncIterable<RegistryClient>,
  signal: AbortSignal,
  act: (client: RegistryClient) => Promise<T>,
): Promise<T> {
  let refusal: unknown
  for await (const client of clients) {
    try {
      return await act(client)
    } catch (error) {
      signal.throwIfAborted()
      if (!isRefusal(error)) throw error
      // What a client with credentials was told says more than what everybody is told.
      refusal ??= error
    }
  }
  throw refusal
}

/** Many registries say of what somebody may not see that it does not exist. */
function isRefusal(error: unknown): boolean {
  const { code, cause } = error as { code?: string; cause?: unknown }
  if (code === 'FAIRLEAD_OCI_REGISTRY_DENIED' || code === 'FAIRLEAD_OCI_REGISTRY_NOT_FOUND') return true
  return code === 'FAIRLEAD_OCI_IMAGE_REFUSED' && cause !== undefined && isRefusal(cause)
}
