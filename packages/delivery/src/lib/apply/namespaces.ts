import { isAlreadyExists, isNotFound, type KubeClient } from '@fairlead/kube'
import { managerName } from '../render/labels.ts'

/** Makes sure that a namespace is there. */
export async function ensureNamespace(client: KubeClient, name: string, signal?: AbortSignal): Promise<void> {
  const namespaces = client.resource('v1/Namespace')
  try {
    await namespaces.get(name, { signal })
  } catch (error) {
    if (!isNotFound(error)) throw error
    await create(client, name, signal)
  }
}

async function create(client: KubeClient, name: string, signal?: AbortSignal): Promise<void> {
  try {
    await client
      .resource('v1/Namespace')
      .create({ apiVersion: 'v1', kind: 'Namespace', metadata: { name } }, { fieldManager: managerName, signal })
  } catch (error) {
    if (!isAlreadyExists(error)) throw error
  }
}
