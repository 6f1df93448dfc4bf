import { inspect } from 'node:util'

const redacted = '[redacted]'

/**
 * A value that prints as `[redacted]`: in a template, in `String()`, in JSON, in `console.log` and in a crash report made from them. Only
 * `reveal()` gives it out, so that every place that reads a secret can be found by that word.
 */
export class Secret<T = string> {
  readonly #value: T

  constructor(value: T) {
    this.#value = value
  }

  /** The value itself. Do not put it into an error, a log line or a metric. */
  reveal(): T {
    return this.#value
  }

  toString(): string {
    return redacted
  }

  toJSON(): string {
    return redacted
  }
}

// Beside the class: a declaration file could not name the member.
Object.defineProperty(Secret.prototype, inspect.custom, { value: (): string => redacted })
