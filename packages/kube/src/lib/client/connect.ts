import { createKubeClient } from './client.ts'
import type { KubeClient } from './client.ts'
import { createCredentials } from './credentials.ts'
import { kubeconfigInvalid } from './errors.ts'
import { createHttpsTransport } from './https-transport.ts'
import { loadKubeconfig } from './kubeconfig.ts'
import type { Kubeconfig, KubeconfigCluster, KubeconfigContext, KubeconfigUser } from './kubeconfig.ts'
import { createPemSource } from './pem-source.ts'
import type { Transport } from './transport.ts'

export interface ConnectKubeOptions {
  /** Default: what {@link loadKubeconfig} finds. */
  readonly kubeconfig?: Kubeconfig | undefined
  /** Default: the current context. */
  readonly context?: string | undefined
  /** Default: the context's, else `default`. */
  readonly namespace?: string | undefined
  /** Milliseconds until an answer must be complete; watches are not bounded. Default 30,000. */
  readonly deadlineMs?: number | undefined
  /** Environment of credential plugins. Default `process.env`. */
  readonly env?: Readonly<Record<string, string | undefined>> | undefined
}

/** A client for the cluster a kubeconfig context names. Connects at the first request. Throws FAIRLEAD_KUBE_KUBECONFIG. */
export function connectKube(options: ConnectKubeOptions = {}): KubeClient {
  const kubeconfig = options.kubeconfig ?? loadKubeconfig({ env: options.env })
  const { context } = resolveContext(kubeconfig, options.context)
  const namespace = options.namespace ?? (context.namespace === '' ? undefined : context.namespace)
  return createKubeClient({ transport: connectTransport({ ...options, kubeconfig }), namespace })
}

/** The HTTPS transport alone, for those who speak the API without types. */
export function connectTransport(options: ConnectKubeOptions & { readonly kubeconfig: Kubeconfig }): Transport {
  const { cluster, user, context } = resolveContext(options.kubeconfig, options.context)
  const { server } = cluster
  if (!/^https?:\/\//.test(server) || !URL.canParse(server)) {
    throw kubeconfigInvalid(
      context.cluster,
      `server is "${server}", expected an https URL`,
      'Correct server of the cluster',
    )
  }
  const insecure = cluster['insecure-skip-tls-verify']
  const ca = createPemSource(cluster['certificate-authority-data'], cluster['certificate-authority'])
  if (insecure === true && ca() !== undefined) {
    const hint = 'Remove insecure-skip-tls-verify, or the certificate authority'
    throw kubeconfigInvalid(context.cluster, 'insecure-skip-tls-verify is set beside a certificate authority', hint)
  }
  const env = options.env ?? process.env
  return createHttpsTransport({
    server,
    ca,
    serverName: cluster['tls-server-name'],
    insecure,
    proxyUrl: proxyOf(cluster, context.cluster),
    env,
    credentials: createCredentials(user, { name: context.user, cluster, env }),
    deadlineMs: options.deadlineMs,
  })
}

function proxyOf(cluster: KubeconfigCluster, name: string): string | undefined {
  const url = cluster['proxy-url']
  if (url === undefined || url === '') {
    return undefined
  }
  if (!URL.canParse(url) || !/^https?:$/.test(new URL(url).protocol)) {
    const hint = 'Use a proxy that speaks HTTP, or remove proxy-url'
    throw kubeconfigInvalid(name, `proxy-url is "${url}", expected an http or https URL`, hint)
  }
  return url
}

/** The cluster, user and context a name (default: the current context) stands for. Throws FAIRLEAD_KUBE_KUBECONFIG. */
export function resolveContext(
  kubeconfig: Kubeconfig,
  name: string | undefined = kubeconfig['current-context'],
): { cluster: KubeconfigCluster; user: KubeconfigUser; context: KubeconfigContext } {
  const hint = 'Choose one of the contexts that `kubectl config get-contexts` lists'
  if (name === undefined) {
    throw kubeconfigInvalid('current-context', 'no current context is set', hint)
  }
  const context = kubeconfig.contexts.find((entry) => entry.name === name)?.context
  if (context === undefined) {
    const known = kubeconfig.contexts.map((entry) => entry.name).join(', ')
    throw kubeconfigInvalid(name, `no such context, expected one of: ${known === '' ? 'none' : known}`, hint)
  }
  const cluster = kubeconfig.clusters.find((entry) => entry.name === context.cluster)?.cluster
  if (cluster === undefined) {
    throw kubeconfigInvalid(name, `context names the cluster "${context.cluster}", which is missing`, hint)
  }
  const user = kubeconfig.users.find((entry) => entry.name === context.user)?.user
  if (user === undefined && context.user !== '') {
    throw kubeconfigInvalid(name, `context names the user "${context.user}", which is missing`, hint)
  }
  return { cluster, user: user ?? {}, context }
}
