import type { Environment } from '../lifecycle/resource.ts'

/** Where the values of a configuration come from, lowest layer first: defaults, files, mounted directories, environment, flags. */
export interface ConfigOptions {
  /** Documents (`.yaml`, `.yml`, `.toml`, `.json`), later ones over earlier ones. One that must not be there is `optional`. */
  readonly files?: readonly (string | { readonly path: string; readonly optional?: boolean | undefined })[] | undefined
  /** Where ConfigMaps and Secrets are mounted: a file per key, or documents. One that is not there holds nothing. */
  readonly dir?: string | readonly string[] | undefined
  /** What names in the environment begin with, such as `ORDERS_`. Default: the environment is not read. */
  readonly env?: string | undefined
  /** The words of the command line, such as `process.argv.slice(2)`. Default: none. */
  readonly args?: readonly string[] | undefined
}

/** The texts of all layers, read. Pure data: what {@link checkConfig} works on. */
export interface ConfigValues {
  readonly files?: readonly { readonly name: string; readonly text: string }[] | undefined
  /** Mounted directories: the text of each file by its name. */
  readonly mounted?:
    | readonly { readonly name: string; readonly entries: Readonly<Record<string, string>> }[]
    | undefined
  readonly env?: Environment | undefined
  readonly args?: readonly string[] | undefined
  /** What could not be read. */
  readonly faults?: readonly { readonly origin: string; readonly message: string }[] | undefined
}

/** One thing that is wrong. */
export interface ConfigProblem {
  /** `source`: a file that cannot be read at all. */
  readonly kind: 'missing' | 'invalid' | 'unknown' | 'source'
  /** `db.url`; empty for a source. */
  readonly key: string
  /** Where the value stands: `env ORDERS_DB_URL`, `file /etc/orders/config.yaml:3`, `flag --db-url`, `default`. */
  readonly origin?: string | undefined
  /** One sentence with key, state, what was expected, and origin. */
  readonly message: string
  /** Where to set a key that is missing. */
  readonly hint?: string | undefined
}

/** One key, for people. Nothing in it is secret. */
export interface ConfigKeyReport {
  readonly key: string
  /** What it must be, in words. */
  readonly type: string
  readonly isRequired: boolean
  readonly isSecret: boolean
  /** As it is written. */
  readonly default?: unknown
  /** The variable that sets it, if the environment is read. */
  readonly env?: string | undefined
  readonly help?: string | undefined
  /** Where its value comes from; undefined when it has none. */
  readonly origin?: string | undefined
  /** `[redacted]` for a secret. */
  readonly value?: unknown
}

/** The outcome of a check. */
export interface ConfigReport {
  readonly isValid: boolean
  readonly problems: readonly ConfigProblem[]
  /** Not wrong, but hardly meant: variables with the prefix that no key has. */
  readonly warnings: readonly ConfigProblem[]
  readonly keys: readonly ConfigKeyReport[]
}
