import { readFile } from 'node:fs/promises'
import type { Pod } from '@fairlead/kube/types/core-v1'

import { configInvalid } from '../errors.ts'

/** The names of a pod: its own, and what its kernel calls itself. */
export interface PodNames {
  readonly hostname: string
  /** The full name where the pod asks for that (KEP-1797), or a name of its own (KEP-4762). */
  readonly kernelName: string
}

/** 64 characters: what the kernel takes. */
const LONGEST_KERNEL_NAME = 64

/** Throws `FAIRLEAD_CLUSTER_POD_CONFIG` for a full name that is too long. */
export function namesOf(pod: Pod, nodeName: string, domain: string): PodNames {
  const hostname = hostnameOf(pod, nodeName)
  const { subdomain, setHostnameAsFQDN, hostnameOverride } = pod.spec ?? {}
  if (hostnameOverride !== undefined && !pod.spec?.hostNetwork) {
    return { hostname: hostnameOverride, kernelName: hostnameOverride }
  }
  if (!setHostnameAsFQDN || !subdomain || pod.spec?.hostNetwork) return { hostname, kernelName: hostname }
  const kernelName = `${hostname}.${subdomain}.${pod.metadata?.namespace}.svc.${domain}`
  if (kernelName.length <= LONGEST_KERNEL_NAME) return { hostname, kernelName }
  const asked = `(${LONGEST_KERNEL_NAME} characters is the max, ${kernelName.length} characters requested)`
  throw configInvalid(
    `pod "${pod.metadata?.name}"`,
    `Failed to construct FQDN from pod hostname and cluster domain, FQDN ${kernelName} is too long ${asked}`,
  )
}

/** The name a pod sees as its own. */
export function hostnameOf(pod: Pod, nodeName: string): string {
  if (pod.spec?.hostNetwork) return nodeName
  // 63 characters: what a host name may have.
  return (pod.spec?.hostname || (pod.metadata?.name ?? '')).slice(0, 63).replace(/[-.]+$/, '')
}

/** `/etc/hosts` of a pod. */
export function renderHosts(pod: Pod, podIp: string, hostname: string, domain: string): string {
  const { subdomain } = pod.spec ?? {}
  const full = subdomain ? `${hostname}.${subdomain}.${pod.metadata?.namespace}.svc.${domain} ` : ''
  return [
    '# Kubernetes-managed hosts file.',
    '127.0.0.1\tlocalhost',
    '::1\tlocalhost ip6-localhost ip6-loopback',
    'fe00::\tip6-localnet',
    'fe00::1\tip6-allnodes',
    'fe00::2\tip6-allrouters',
    ...(podIp === '' ? [] : [`${podIp}\t${full}${hostname}`]),
    ...aliasesOf(pod),
    '',
  ].join('\n')
}

/** `/etc/hosts` of a pod in the network of its node: `host` is the node's own. */
export function renderHostNetworkHosts(pod: Pod, host: string): string {
  const lines = ['# Kubernetes-managed hosts file (host network).', host.trimEnd(), ...aliasesOf(pod), '']
  return lines.join('\n')
}

function aliasesOf({ spec }: Pod): string[] {
  return (spec?.hostAliases ?? []).map(({ ip, hostnames = [] }) => `${ip}\t${hostnames.join('\t')}`)
}

/** `/etc/resolv.conf` of a pod by its `dnsPolicy` and `dnsConfig`; `host` is the machine's own. */
export function renderResolvConf(pod: Pod, clusterDns: string, domain: string, host: string): string {
  const { dnsPolicy = 'ClusterFirst', dnsConfig = {}, hostNetwork } = pod.spec ?? {}
  const machine = parseResolvConf(host)
  const isCluster = dnsPolicy === 'ClusterFirstWithHostNet' || (dnsPolicy === 'ClusterFirst' && !hostNetwork)
  const namespace = pod.metadata?.namespace ?? 'default'
  const own = ['svc.', ''].map((prefix) => `${prefix}${domain}`)
  const cluster = {
    servers: [clusterDns],
    searches: [`${namespace}.svc.${domain}`, ...own, ...machine.searches],
    options: ['ndots:5'],
  }
  const nothing = { servers: [], searches: [], options: [] }
  const base = dnsPolicy === 'None' ? nothing : isCluster && clusterDns !== '' ? cluster : machine
  const wanted = (dnsConfig.options ?? []).map(({ name, value }) => (value ? `${name}:${value}` : (name ?? '')))
  const named = new Set(wanted.map((option) => option.split(':')[0]))
  const options = [...base.options.filter((option) => !named.has(option.split(':')[0])), ...wanted]
  const searches = [...new Set([...base.searches, ...(dnsConfig.searches ?? [])])]
  return [
    ...[...new Set([...base.servers, ...(dnsConfig.nameservers ?? [])])].map((server) => `nameserver ${server}`),
    ...(searches.length > 0 ? [`search ${searches.join(' ')}`] : []),
    ...(options.length > 0 ? [`options ${options.join(' ')}`] : []),
    '',
  ].join('\n')
}

function parseResolvConf(text: string): { servers: string[]; searches: string[]; options: string[] } {
  const lines = text.split('\n').map((line) => line.trim().split(/\s+/))
  const values = (key: string): string[] => lines.filter(([first]) => first === key).flatMap((words) => words.slice(1))
  return { servers: values('nameserver'), searches: values('search'), options: values('options') }
}

/** The machine's resolver configuration; systemd-resolved keeps the real one elsewhere. */
export async function readHostResolvConf(): Promise<string> {
  const text = await readFile('/etc/resolv.conf', 'utf8').catch(() => '')
  if (!text.includes('127.0.0.53')) return text
  return readFile('/run/systemd/resolve/resolv.conf', 'utf8').catch(() => text)
}
