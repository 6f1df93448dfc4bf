import type { Pod } from '@fairlead/kube/types/core-v1'

/** Settings of the kernel that concern the pod alone and cannot hurt its neighbours (Kubernetes, "Safe and Unsafe Sysctls"). */
const safe = new Set([
  'kernel.shm_rmid_forced',
  'net.ipv4.ip_local_port_range',
  'net.ipv4.ip_local_reserved_ports',
  'net.ipv4.ip_unprivileged_port_start',
  'net.ipv4.ping_group_range',
  'net.ipv4.tcp_fin_timeout',
  'net.ipv4.tcp_keepalive_intvl',
  'net.ipv4.tcp_keepalive_probes',
  'net.ipv4.tcp_keepalive_time',
  'net.ipv4.tcp_rmem',
  'net.ipv4.tcp_syncookies',
  'net.ipv4.tcp_wmem',
])

/** What containerd sets for every pod too: ports below 1024 and ping need no rights in a network of one's own. */
const everyPod = { 'net.ipv4.ip_unprivileged_port_start': '0', 'net.ipv4.ping_group_range': '0 2147483647' }

/** What is set for the containers of a pod. */
export function sysctlsOf({ spec }: Pod): Record<string, string> {
  const own = (spec?.securityContext?.sysctls ?? []).map(({ name, value }) => [nameOf(name), value] as const)
  return { ...(spec?.hostNetwork ? {} : everyPod), ...Object.fromEntries(own) }
}

/** Why a pod's settings may not be set here, as reason and message of its status; undefined when they may. */
export function rejectSysctls({ spec }: Pod): { reason: string; message: string } | undefined {
  for (const { name } of spec?.securityContext?.sysctls ?? []) {
    const message = forbid(nameOf(name), spec)
    if (message !== undefined) return { reason: 'SysctlForbidden', message }
  }
  return undefined
}

function forbid(name: string, spec: Pod['spec']): string | undefined {
  if (name.startsWith('net.') && spec?.hostNetwork)
    return `forbidden sysctl: "${name}" not allowed with host net enabled`
  if (name.startsWith('kernel.') && spec?.hostIPC)
    return `forbidden sysctl: "${name}" not allowed with host ipc enabled`
  return safe.has(name) ? undefined : `forbidden sysctl: "${name}" not allowlisted`
}

/** Both `a.b` and `a/b` name the same setting; where a name holds dots itself, slashes separate. */
function nameOf(name: string): string {
  const separator = name.search(/[./]/)
  return separator === -1 || name[separator] === '.'
    ? name
    : name.replaceAll(/[./]/g, (one) => (one === '/' ? '.' : '/'))
}
