/** The formats a set of metrics is offered in. */
export type MetricsFormat = 'text' | 'openmetrics' | 'protobuf'

export const contentTypes: Readonly<Record<MetricsFormat, string>> = {
  text: 'text/plain; version=0.0.4; charset=utf-8',
  openmetrics: 'application/openmetrics-text; version=1.0.0; charset=utf-8',
  protobuf: 'application/vnd.google.protobuf; proto=io.prometheus.client.MetricFamily; encoding=delimited',
}

/**
 * The format an `Accept` header likes best (RFC 9110, section 12.5.1). Where it likes none, or there is none: text
 * 0.0.4, which the Prometheus specification of content negotiation makes the last resort.
 */
export function chooseFormat(accept: string | undefined): MetricsFormat {
  let best: { readonly format: MetricsFormat; readonly quality: number } = { format: 'text', quality: 0 }
  for (const { value, parameters, quality } of parseQualified(accept ?? '')) {
    const format = formatOf(value, parameters)
    // Of equals the first one: Prometheus lists what it prefers in front.
    if (format !== undefined && quality > best.quality) best = { format, quality }
  }
  return best.format
}

/** Whether an `Accept-Encoding` header allows gzip. */
export function acceptsGzip(acceptEncoding: string | undefined): boolean {
  const codings = parseQualified(acceptEncoding ?? '')
  const found =
    codings.find(({ value }) => value === 'gzip' || value === 'x-gzip') ?? codings.find(({ value }) => value === '*')
  return found !== undefined && found.quality > 0
}

interface Qualified {
  readonly value: string
  readonly parameters: ReadonlyMap<string, string>
  readonly quality: number
}

function formatOf(type: string, parameters: ReadonlyMap<string, string>): MetricsFormat | undefined {
  const version = parameters.get('version')
  switch (type) {
    case 'application/openmetrics-text':
      // A 2.0 reader also lists 1.0.0. The two versions 1.0.0 and 0.0.1 are written alike.
      return version === undefined || version === '1.0.0' || version === '0.0.1' ? 'openmetrics' : undefined
    case 'application/vnd.google.protobuf':
      return parameters.get('proto') === 'io.prometheus.client.metricfamily' &&
        parameters.get('encoding') === 'delimited'
        ? 'protobuf'
        : undefined
    case 'text/plain':
      return version === undefined || version === '0.0.4' ? 'text' : undefined
    case 'text/*':
    case '*/*':
      return 'text'
    default:
      return undefined
  }
}

/** Headers come from anybody: what is longer than any real one is not looked at. */
function parseQualified(header: string): Qualified[] {
  return header
    .slice(0, 2000)
    .toLowerCase()
    .split(',')
    .map((entry) => {
      const [value = '', ...rest] = entry.split(';').map((part) => part.trim())
      const parameters = new Map(
        rest.map((part) => {
          const [name = '', text = ''] = part.split('=', 2)
          return [name.trim(), text.trim().replaceAll('"', '')]
        }),
      )
      const quality = parameters.has('q') ? Number(parameters.get('q')) : 1
      return { value, parameters, quality: quality >= 0 && quality <= 1 ? quality : 0 }
    })
}
