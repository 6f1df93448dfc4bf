import { existsSync, readFileSync } from 'node:fs'
import { join } from 'node:path'

import type { Kubeconfig } from './kubeconfig.ts'

const serviceAccountDir = '/var/run/secrets/kubernetes.io/serviceaccount'

/**
 * The kubeconfig of the pod this process runs in; undefined outside of a pod. Its token is read anew as the node rotates it.
 * `SERVICE_ACCOUNT_DIR` names another folder than the usual one, as pods have it that are plain processes.
 */
export function loadInCluster(
  env: Readonly<Record<string, string | undefined>>,
  dir: string = env['SERVICE_ACCOUNT_DIR'] || serviceAccountDir,
): Kubeconfig | undefined {
  const host = env['KUBERNETES_SERVICE_HOST']
  const port = env['KUBERNETES_SERVICE_PORT']
  const tokenFile = join(dir, 'token')
  if (host === undefined || port === undefined || !existsSync(tokenFile)) {
    return undefined
  }
  const name = 'in-cluster'
  const server = `https://${host.includes(':') ? `[${host}]` : host}:${port}`
  return {
    apiVersion: 'v1',
    kind: 'Config',
    clusters: [{ name, cluster: { server, 'certificate-authority': join(dir, 'ca.crt') } }],
    users: [{ name, user: { tokenFile } }],
    contexts: [{ name, context: { cluster: name, user: name, namespace: readNamespace(join(dir, 'namespace')) } }],
    'current-context': name,
  }
}

function readNamespace(file: string): string | undefined {
  return existsSync(file) ? readFileSync(file, 'utf8').trim() : undefined
}
