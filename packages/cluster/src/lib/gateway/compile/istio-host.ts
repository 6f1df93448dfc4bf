/** The Service that a host of Istio's objects stands for; short names are of the object's own namespace. Undefined for other hosts. */
export function serviceOfHost(
  host: string,
  ownNamespace: string,
): { readonly namespace: string; readonly service: string } | undefined {
  const labels = host
    .toLowerCase()
    .replace(/\.cluster\.local$/, '')
    .split('.')
  const [service = '', namespace = ownNamespace, svc = 'svc'] = labels
  // Istio takes a name with dots for a full one; `a.b` is a Service only with `.svc`, yet people write it so.
  if (service === '' || service.includes('*') || labels.length > 3 || svc !== 'svc') return undefined
  return { namespace, service }
}
