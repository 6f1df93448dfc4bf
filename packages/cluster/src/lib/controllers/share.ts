/** Resolves an IntOrString such as `maxUnavailable`: a count as it is, a percentage (`25%`) of `total`, rounded up or down. */
export function resolveShare(value: number | string, total: number, round: 'up' | 'down'): number {
  if (typeof value === 'number') return value
  const share = (Number.parseInt(value, 10) * total) / 100
  return round === 'up' ? Math.ceil(share) : Math.floor(share)
}
