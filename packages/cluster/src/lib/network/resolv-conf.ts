/** The text of a pod's `/etc/resolv.conf` for `dnsPolicy: ClusterFirst`. `inherited` are the host's own search domains. */
export function renderResolvConf(
  nameServer: string,
  namespace: string,
  domain = 'cluster.local',
  inherited: readonly string[] = [],
): string {
  const search = [`${namespace}.svc.${domain}`, `svc.${domain}`, domain, ...inherited]
  return `nameserver ${nameServer}\nsearch ${search.join(' ')}\noptions ndots:5\n`
}
