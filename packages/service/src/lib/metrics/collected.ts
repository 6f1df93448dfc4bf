/** What a set of metrics knows at one moment, for whoever writes it in a format of their own (OTLP, a debug page). */

/** One metric with all of its series. */
export interface CollectedFamily {
  /** As the Prometheus text format writes it: with `_total` for counters, without `_bucket`. */
  readonly name: string
  readonly kind: 'counter' | 'gauge' | 'histogram' | 'info'
  readonly help: string
  /** `seconds`, `bytes`, `ratio`, ... as it stands in the name; undefined for plain numbers. */
  readonly unit: string | undefined
  readonly labelNames: readonly string[]
  /** How the OpenTelemetry conventions call it, where they do. */
  readonly otel: OtelNaming | undefined
  readonly series: readonly CollectedSeries[]
}

/** Names of the same facts in the OpenTelemetry semantic conventions. */
export interface OtelNaming {
  /** `http.server.request.duration` */
  readonly name: string
  /** UCUM: `s`, `By`, `{request}`. */
  readonly unit?: string | undefined
  /** Attribute names by label names; other labels keep their names. */
  readonly attributes?: Readonly<Record<string, string>> | undefined
  /** Whether a gauge is a sum that may shrink (an UpDownCounter), which OTLP tells from other gauges. */
  readonly isSum?: boolean | undefined
}

export type CollectedSeries = CollectedNumber | CollectedHistogram

interface CollectedBase {
  /** In the order of `labelNames`. */
  readonly labels: Readonly<Record<string, string>>
  /** Since when it counts, milliseconds since the epoch. */
  readonly startTimeMs: number
}

/** A counter, a gauge, or an info (whose value is 1). */
export interface CollectedNumber extends CollectedBase {
  readonly value: number
  readonly exemplar?: Exemplar | undefined
}

export interface CollectedHistogram extends CollectedBase {
  /** Upper bounds, inclusive, without +Inf. */
  readonly bounds: readonly number[]
  /** One more than bounds; not cumulative, the last one is what lies above every bound. A copy. */
  readonly counts: readonly number[]
  readonly count: number
  readonly sum: number
  /** The last one per bucket. */
  readonly exemplars: readonly (Exemplar | undefined)[]
  readonly native?: NativeHistogram | undefined
}

/**
 * Buckets that grow by the factor 2^(2^-schema), as Prometheus' native histograms have them: index i holds values in
 * (2^((i-1)·2^-schema), 2^(i·2^-schema)]. OTLP's exponential histogram calls the schema scale, and index i is its i-1.
 */
export interface NativeHistogram {
  readonly schema: number
  readonly zeroThreshold: number
  readonly zeroCount: number
  /** Count by index, ascending. */
  readonly positive: readonly (readonly [index: number, count: number])[]
  /** The same for the absolute values of negative ones. */
  readonly negative: readonly (readonly [index: number, count: number])[]
}

/** One observation that belongs to a sampled trace. */
export interface Exemplar {
  readonly traceId: string
  readonly spanId: string
  readonly value: number
  /** Milliseconds since the epoch. */
  readonly timeMs: number
}
