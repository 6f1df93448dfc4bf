import { promisify } from 'node:util'
import type { Metrics } from './metrics.ts'
import { acceptsGzip, chooseFormat, contentTypes } from './negotiate.ts'
import type { MetricsFormat } from './negotiate.ts'
import { renderOpenMetrics } from './openmetrics.ts'
import type { OpenMetricsOptions } from './openmetrics.ts'
import { renderProtobuf } from './protobuf.ts'
import { renderText } from './text.ts'

/** The answer to a scrape. */
export interface Exposition {
  readonly headers: Readonly<Record<string, string>>
  readonly body: string | Uint8Array
}

/** The two request headers that decide; `request.headers` of node:http has them. */
export interface ScrapeHeaders {
  readonly accept?: string | undefined
  readonly 'accept-encoding'?: string | string[] | undefined
}

/** Below this many bytes gzip is not worth its header. */
const gzipFromBytes = 1024

/**
 * Renders everything in the format the scraper asks for: text 0.0.4, OpenMetrics 1.0.0 (with exemplars), or protobuf
 * (with native histograms), compressed when it may be. Compression happens outside of the event loop.
 */
export async function exposeMetrics(
  metrics: Metrics,
  headers: ScrapeHeaders = {},
  options: OpenMetricsOptions = {},
): Promise<Exposition> {
  const format = chooseFormat(headers.accept)
  const body = render(metrics, format, options)
  const answer = { 'content-type': contentTypes[format], vary: 'accept, accept-encoding' }
  const encodings = headers['accept-encoding']
  if (body.length < gzipFromBytes || !acceptsGzip(Array.isArray(encodings) ? encodings.join(',') : encodings))
    return { headers: answer, body }
  // Level 1: a third larger than level 6 at a fraction of its time, for an answer that lives for a second.
  // Most are scraped without it, and loading it takes 4 ms.
  const { gzip } = process.getBuiltinModule('node:zlib')
  const packed = await promisify(gzip)(body, { level: 1 })
  return { headers: { ...answer, 'content-encoding': 'gzip' }, body: packed }
}

function render(metrics: Metrics, format: MetricsFormat, options: OpenMetricsOptions): string | Uint8Array {
  const families = metrics.collect()
  if (format === 'openmetrics') return renderOpenMetrics(families, options)
  return format === 'protobuf' ? renderProtobuf(families) : renderText(families)
}
