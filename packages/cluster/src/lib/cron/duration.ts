const unitsMs: Readonly<Record<string, number>> = {
  ns: 1e-6,
  us: 1e-3,
  µs: 1e-3,
  μs: 1e-3,
  ms: 1,
  s: 1e3,
  m: 6e4,
  h: 36e5,
}

/** Reads a duration as Go writes it, such as `1h30m`, into milliseconds; undefined when it is none. */
export function parseDuration(text: string): number | undefined {
  const match = /^([+-]?)((?:(?:\d+\.?\d*|\.\d+)(?:ns|us|µs|μs|ms|s|m|h))+)$/.exec(text)
  if (text === '0' || match === null) return text === '0' ? 0 : undefined
  const [, sign, amounts = ''] = match
  let sum = 0
  for (const [, amount, unit = ''] of amounts.matchAll(/([\d.]+)([a-zµμ]+)/g)) {
    sum += Number(amount) * (unitsMs[unit] ?? 0)
  }
  return sign === '-' ? -sum : sum
}
