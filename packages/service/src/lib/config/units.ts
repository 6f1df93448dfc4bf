const durationUnits: Readonly<Record<string, number>> = {
  ns: 1e-6,
  us: 1e-3,
  µs: 1e-3,
  ms: 1,
  s: 1000,
  m: 60_000,
  h: 3_600_000,
  d: 86_400_000,
}

/** Milliseconds of `5s`, `1m30s`, `500ms`, `1.5h`, `2d` (the spelling of Go's time.ParseDuration, and days); undefined for anything else. */
export function parseDuration(text: string): number | undefined {
  if (text === '0') return 0
  if (text.length > 64 || !/^(\d+(\.\d+)?(ns|us|µs|ms|s|m|h|d))+$/.test(text)) return undefined
  let durationMs = 0
  for (const [, amount, unit = ''] of text.matchAll(/(\d+(?:\.\d+)?)(ns|us|µs|ms|s|m|h|d)/g))
    durationMs += Number(amount) * (durationUnits[unit] ?? Number.NaN)
  return Number.isFinite(durationMs) ? durationMs : undefined
}

const sizeUnits: Readonly<Record<string, number>> = {
  '': 1,
  b: 1,
  k: 1e3,
  kb: 1e3,
  m: 1e6,
  mb: 1e6,
  g: 1e9,
  gb: 1e9,
  t: 1e12,
  tb: 1e12,
  ki: 2 ** 10,
  kib: 2 ** 10,
  mi: 2 ** 20,
  mib: 2 ** 20,
  gi: 2 ** 30,
  gib: 2 ** 30,
  ti: 2 ** 40,
  tib: 2 ** 40,
}

/** Bytes of `16MiB`, `512Mi`, `1.5GB`, `64k`, `1024`: units of 1000, and of 1024 with an `i`. undefined for anything else. */
export function parseSize(text: string): number | undefined {
  const [, amount, unit = ''] = /^(\d+(?:\.\d+)?)\s?([a-z]{0,3})$/i.exec(text) ?? []
  const factor = sizeUnits[unit.toLowerCase()]
  // `m` alone is Kubernetes' word for a thousandth: nobody who writes it means bytes.
  if (amount === undefined || factor === undefined || unit === 'm') return undefined
  const sizeBytes = Math.round(Number(amount) * factor)
  return Number.isSafeInteger(sizeBytes) ? sizeBytes : undefined
}
