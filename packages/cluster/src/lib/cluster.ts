import { mkdir } from 'node:fs/promises'
import { hostname } from 'node:os'
import { join } from 'node:path'
import { createKubeClient, createKubeconfig, renderKubeconfig } from '@fairlead/kube'
import type { KubeClient } from '@fairlead/kube'
import type { ImagePolicy } from '@fairlead/oci/sign'
import { requireOciRuntime } from '@fairlead/oci/runtime'
import { openAuditor } from './apiserver/access/audit/open-auditor.ts'
import type { AuditOptions } from './apiserver/access/audit/open-auditor.ts'
import { createApiServer } from './apiserver/server.ts'
import type { ApiServer } from './apiserver/server.ts'
import { createLegacySigner } from './apiserver/access/tokens/legacy-signer.ts'
import { storageDir } from './cluster-backup.ts'
import { openPodNetwork } from './network/pod-network.ts'
import { apiAddressOf, gatewayOf } from './network/plan.ts'
import type { NetworkPlan } from './network/plan.ts'
import type { PodNetwork, PodNetworkOptions } from './network/pod-network.ts'
import type { NodeSettings } from './node/config/kubelet-config.ts'
import type { NodeAgent } from './node/node.ts'
import type { OpenRegistryClient } from './node/registry-clients.ts'
import type { Nodes } from './nodes.ts'
import { chooseNodes, planNodes } from './planned-nodes.ts'
import type { PlannedNode } from './planned-nodes.ts'
import { loadPki, toSec1 } from './pki.ts'
import type { ClusterPki } from './pki.ts'
import { RunningComponents } from './running-components.ts'
import { loadSigningKeys } from './signing-keys.ts'
import { openStore } from './storage/store.ts'
import type { Durability } from './storage/store.ts'
import { untilIdle } from './until-idle.ts'

/** `auto`: containers where this machine can have them, else plain processes. `runc` insists on containers. */
export type RuntimeChoice = 'auto' | 'runc' | 'process'

/** Options of {@link startCluster}. */
export interface ClusterOptions {
  /** Directory of the cluster; made when missing. One process at a time may use it. */
  readonly dir: string
  /** The image store (an OCI layout) that pods' images come from. */
  readonly imagesDir: string
  /** Port of the API server on 127.0.0.1. Default 0: any free one. */
  readonly port?: number | undefined
  /** Default `strict`: an acknowledged write is on disk. */
  readonly durability?: Durability | undefined
  /** Default `auto`. */
  readonly runtime?: RuntimeChoice | undefined
  /** Which images may run: containers of others are not started, and an event of the pod says why. Default: all. */
  readonly imagePolicy?: ImagePolicy | undefined
  /**
   * Talks to the registries that images are pulled from, first with the credentials it is given, those of a pod. Default: as
   * the user of this process, with the credentials of Docker and Podman.
   */
  readonly openRegistryClient?: OpenRegistryClient | undefined
  /**
   * Hosts, with port, of registries that serve `imagesDir`, asked each time an image is looked for: `HOST/team/app:1` is then
   * `localhost/team/app:1` of the store, and nothing is pulled. Default: none.
   */
  readonly ownRegistries?: (() => readonly string[]) | undefined
  /** Name of the first node; others have it with a number. Default: the host's name. */
  readonly nodeName?: string | undefined
  /** How many nodes the cluster shows, all on this machine and each with an equal part of it. Default: as many as last time, first 1. */
  readonly nodes?: number | undefined
  /** Values of the label `topology.kubernetes.io/zone`, given to the nodes in turn. Default: those of last time, first none. */
  readonly zones?: readonly string[] | undefined
  /** Whether Ingress, Gateway API and Istio objects are served, and their kinds installed. Default: true. */
  readonly gateway?: boolean | undefined
  /** File of a KubeletConfiguration that all nodes follow, YAML or JSON. Default: none. */
  readonly kubeletConfigFile?: string | undefined
  /** File that gets a line of JSON for each request that passes the gateway. Default: none. */
  readonly accessLog?: string | undefined
  /** Variables of OpenTelemetry (`OTEL_EXPORTER_OTLP_ENDPOINT` and others): the gateway sends spans as they say. Default: none. */
  readonly telemetry?: Readonly<Record<string, string | undefined>> | undefined
  /** Writes down who asks the API for what. Default: nothing is written. */
  readonly audit?: AuditOptions | undefined
  /** Aborts the start; a cluster that runs is stopped by {@link Cluster.close}. */
  readonly signal?: AbortSignal | undefined
  /** Told of events worth a log line: a constant message with fields. Default: nobody. */
  readonly onLog?: ((entry: ClusterLogEntry) => void) | undefined
}

/** One line of the cluster's log. */
export interface ClusterLogEntry {
  readonly level: 'info' | 'warn' | 'error'
  readonly msg: string
  readonly err?: unknown
  readonly [field: string]: unknown
}

/** How pods run. */
export interface ClusterRuntime {
  readonly kind: 'containers' | 'processes'
  /** Name and version, and why it is not the isolating one when that was not to be had. */
  readonly detail: string
  /** What objects may ask for and nothing enforces; empty for containers. */
  readonly notEnforced: readonly string[]
}

/** What takes a kernel that keeps programs apart. */
const notEnforcedForProcesses: readonly string[] = [
  'limits of CPU and memory',
  'NetworkPolicy',
  'securityContext (user, read-only files, capabilities, seccomp)',
]

/** A running cluster. */
export interface Cluster {
  /** Of the API server, such as `https://127.0.0.1:6443`. */
  readonly url: string
  /** A kubeconfig for its administrator, as text. It holds a private key: write it with mode 0600. */
  readonly kubeconfig: string
  readonly runtime: ClusterRuntime
  readonly nodes: readonly Pick<PlannedNode, 'name' | 'zone'>[]
  /** A client in this process, as administrator. */
  readonly client: KubeClient
  /**
   * Stops the cluster. With `stopPods` their containers end and the network is taken away; without, they go on
   * running and the next start of the same directory takes them over.
   */
  close(options?: { readonly stopPods?: boolean | undefined }): Promise<void>
  [Symbol.asyncDispose](): Promise<void>
}

/**
 * Starts the cluster kept in `dir`, or a new one. Resolves when the API answers and this machine is its node; what was
 * running before is taken over.
 */
export async function startCluster(options: ClusterOptions): Promise<Cluster> {
  const { dir, imagesDir, signal, nodeName = hostname().toLowerCase() } = options
  const log = options.onLog ?? (() => {})
  const fault = (component: string) => (err: unknown) => log({ level: 'warn', msg: 'component failed', component, err })
  await mkdir(dir, { recursive: true, mode: 0o700 })
  const settings = options.kubeletConfigFile === undefined ? {} : await loadSettings(options.kubeletConfigFile)
  const planned = planNodes(dir, nodeName, await chooseNodes(dir, { count: options.nodes, zones: options.zones }))
  await using opened = new AsyncDisposableStack()

  const store = await openStore({
    dir: storageDir(dir),
    durability: options.durability,
    onError: fault('storage'),
  })
  opened.defer(() => store.close())
  // The API can answer while the network is still being made: it only has to know the addresses of Services.
  const ranges = Promise.withResolvers<NetworkPlan>()
  const opening = openNetwork(options, { onError: fault('network'), onPlan: ranges.resolve })
  opening.catch(ranges.reject)
  opened.defer(async () => (await opening.catch(() => undefined))?.close())
  const identity = ranges.promise.then((known) => loadPki(dir, [apiAddressOf(known), gatewayOf(known)]))
  const [pki, tokenKeys, plan] = await Promise.all([identity, loadSigningKeys(dir), ranges.promise])
  signal?.throwIfAborted()

  const { promise: whenNodes, resolve: nodesOpened } = Promise.withResolvers<Nodes>()
  const audit = options.audit === undefined ? undefined : await openAuditor(options.audit, fault('audit'))
  opened.defer(() => audit?.close())
  const running = new RunningComponents(['controller-manager', 'scheduler'])
  const server = createApiServer({
    store,
    components: running.all,
    serviceCidr: plan.serviceCidr,
    audit,
    frontProxy: { ...pki.frontProxy, clientCa: pki.ca },
    serviceAccounts: true,
    controllers: true,
    serviceAccountKey: tokenKeys.current,
    earlierServiceAccountKeys: tokenKeys.earlier,
    kubelet: async (name) => await (await whenNodes).kubeletOf(name),
    onError: fault('apiserver'),
  })
  opened.defer(() => server.close())
  const tls = { key: pki.server.key, cert: pki.server.certificate, ca: pki.ca }
  const { port } = await server.listen({ port: options.port, tls })
  const url = `https://127.0.0.1:${port}`

  // What works through the API is loaded when those are answered who waited for it: loading takes as long as ten answers.
  await untilIdle()
  const parts = await import('./parts.ts')
  const administrator = createKubeClient({
    transport: server.transport({ user: 'fairlead-admin', groups: ['system:masters'] }),
  })
  const components = new AbortController()
  let published: Promise<void> | undefined
  const controllers = parts.runControllers({
    client: clientOf(server, 'system:kube-controller-manager'),
    clientFor: (account) => clientOfAccount(server, account),
    caCertificate: pki.ca,
    signCertificate: parts.createCertificateSigner(pki.authority),
    signToken: createLegacySigner(tokenKeys.current),
    volumesDir: join(dir, 'volumes'),
    signal: components.signal,
    onError: fault('controllers'),
  })
  const scheduler = parts.runScheduler({
    client: clientOf(server, 'system:kube-scheduler'),
    signal: components.signal,
    onError: fault('scheduler'),
  })
  running.follow('controller-manager', controllers)
  running.follow('scheduler', scheduler)
  opened.defer(async () => {
    components.abort()
    await Promise.all([controllers, scheduler, published])
  })
  const network = await opening
  if (network.plan.serviceCidr !== plan.serviceCidr) {
    // Namespaces were planned and could not be made: plain processes have other addresses.
    await opened.disposeAsync()
    const fallen = await startCluster({ ...options, runtime: 'process' })
    const { runtime } = fallen
    return { ...fallen, runtime: { ...runtime, detail: `${runtime.detail} (${network.reason})` } }
  }

  // Pods do not reach the loopback of the host, only its end of their network.
  if (network.plan.mode === 'namespaces') await server.listen({ host: network.gateway, port, tls })
  published = parts.keepKubernetesService({
    client: administrator,
    serviceCidr: plan.serviceCidr,
    clusterIP: apiAddressOf(plan),
    host: network.gateway,
    port,
    signal: components.signal,
    onError: fault('kubernetes service'),
  })
  const services = await parts.openServiceNetwork({
    client: clientOf(server, 'system:kube-proxy'),
    network,
    nodes: planned,
    dir,
    onError: fault('services'),
  })
  const closeServices = closeOnce<void>(() => services.close())
  opened.defer(() => closeServices())
  const gateway =
    options.gateway === false
      ? Promise.resolve(undefined)
      : parts.openGateway({
          client: clientOf(server, parts.gatewayUser),
          meshHost: network.gateway,
          access: services.passages,
          observers: { accessLog: options.accessLog, telemetry: options.telemetry },
          redirect: (redirects) => services.redirect(redirects),
          onError: fault('gateway'),
        })
  // Awaited below; until then a failure is not to end the process.
  gateway.catch(() => {})
  opened.defer(async () => (await gateway.catch(() => undefined))?.close())
  const nodes = await parts.runNodes({
    clientOf: (name) =>
      createKubeClient({
        transport: server.transport({ user: `system:node:${name}`, groups: ['system:nodes', 'system:authenticated'] }),
      }),
    administrator,
    dir,
    planned,
    images: imagesDir,
    ...settings,
    runtime: network.plan.mode === 'namespaces' ? 'runc' : 'process',
    network: services.pods,
    openRegistryClient: options.openRegistryClient,
    imagePolicy: options.imagePolicy,
    ownRegistries: options.ownRegistries,
    clusterDns: network.plan.mode === 'namespaces' ? services.nameServer : '',
    onError: fault('node'),
  })
  nodesOpened(nodes)
  await Promise.all([giveRole(administrator, nodeName), parts.ensureStorageClass(administrator), gateway])
  signal?.throwIfAborted()

  const held = opened.move()
  const close = closeOnce(async (stopPods: boolean) => {
    // While there are rules to change, and before the endpoints it leads to go.
    await (await gateway)?.close()
    await nodes.stop({ stopPods })
    // Whoever still writes rules would make the network anew.
    await closeServices()
    if (stopPods) await network.close({ remove: true })
    await held.disposeAsync()
  })
  return {
    url,
    kubeconfig: renderAdminKubeconfig(url, pki),
    runtime: {
      kind: nodes.first.kind,
      detail: describe(nodes.first, network),
      notEnforced: nodes.first.kind === 'processes' ? notEnforcedForProcesses : [],
    },
    nodes: planned.map(({ name, zone }) => ({ name, zone })),
    client: administrator,
    close: ({ stopPods = false } = {}) => close(stopPods),
    [Symbol.asyncDispose]: () => close(true),
  }
}

/** Containers and network namespaces go together: where one is missing, pods are plain processes on loopback. */
async function openNetwork(
  options: ClusterOptions,
  hooks: Pick<PodNetworkOptions, 'onError' | 'onPlan'>,
): Promise<PodNetwork> {
  const { dir, runtime = 'auto' } = options
  const obstacle = runtime === 'process' ? undefined : await requireOciRuntime().catch((error: unknown) => error)
  if (runtime === 'runc' && obstacle !== undefined) throw obstacle
  const mode = runtime === 'runc' ? 'namespaces' : runtime === 'process' || obstacle ? 'processes' : 'auto'
  const network = await openPodNetwork({ dir, mode, ...hooks })
  return obstacle instanceof Error ? { ...network, reason: obstacle.message } : network
}

function describe(node: NodeAgent, network: PodNetwork): string {
  const reason = node.reason ?? network.reason
  return reason === undefined ? node.runtimeVersion : `${node.runtimeVersion} (${reason})`
}

function clientOf(server: ApiServer, user: string): KubeClient {
  return createKubeClient({ transport: server.transport({ user, groups: ['system:authenticated'] }) })
}

/** What reads it is not needed by clusters without such a file. */
async function loadSettings(file: string): Promise<NodeSettings> {
  const { loadKubeletConfig } = await import('./node/config/kubelet-config.ts')
  return await loadKubeletConfig(file)
}

/** The label of roles is one that no node may give itself. */
async function giveRole(client: KubeClient, nodeName: string): Promise<void> {
  const body = { metadata: { labels: { 'node-role.kubernetes.io/control-plane': '' } } }
  await client.resource('v1/Node').patch(nodeName, { type: 'merge', body })
}

/** Controllers write as the service accounts their roles are bound to. */
function clientOfAccount(server: ApiServer, name: string): KubeClient {
  const groups = ['system:serviceaccounts', 'system:serviceaccounts:kube-system', 'system:authenticated']
  const user = `system:serviceaccount:kube-system:${name}`
  return createKubeClient({ transport: server.transport({ user, groups }) })
}

function renderAdminKubeconfig(url: string, pki: ClusterPki): string {
  const { certificate, key } = pki.admin
  return renderKubeconfig(
    createKubeconfig({
      name: 'fairlead',
      server: url,
      certificateAuthority: pki.ca,
      clientCertificate: certificate,
      clientKey: toSec1(key),
    }),
  )
}

/** The first call decides how; later ones wait for it. */
function closeOnce<Options>(close: (options: Options) => Promise<void>): (options: Options) => Promise<void> {
  let closed: Promise<void> | undefined
  return (options) => (closed ??= close(options))
}
