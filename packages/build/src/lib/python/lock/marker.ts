import { compare } from './version.ts'

/** What environment markers ask about: the interpreter and machine of the image. */
export interface MarkerEnvironment {
  /** `3.11`. */
  pythonVersion: string
  /** `x86_64` or `aarch64`. */
  machine: string
  /** Extras that were asked for, normalised. */
  extras: ReadonlySet<string>
}

/**
 * Whether an environment marker holds (Python packaging specifications, "Dependency specifiers"). The interpreter is CPython on Linux.
 * Throws a SyntaxError for what is no marker.
 */
export function evaluateMarker(text: string, environment: MarkerEnvironment): boolean {
  const reader = new Reader(tokensOf(text), text, environment)
  const holds = reader.either()
  if (!reader.isAtEnd) throw invalid(text)
  return holds
}

function tokensOf(text: string): string[] {
  const token = /\s*(\(|\)|'[^']*'|"[^"]*"|not\s+in\b|[<>=!~]=?=?|[A-Za-z_][\w.]*)\s*/y
  const tokens: string[] = []
  while (token.lastIndex < text.length) {
    const found = token.exec(text)?.[1]
    if (found === undefined) throw invalid(text)
    tokens.push(found)
  }
  return tokens
}

class Reader {
  readonly #tokens: readonly string[]
  readonly #text: string
  readonly #environment: MarkerEnvironment
  #at = 0

  constructor(tokens: readonly string[], text: string, environment: MarkerEnvironment) {
    this.#tokens = tokens
    this.#text = text
    this.#environment = environment
  }

  get isAtEnd(): boolean {
    return this.#at === this.#tokens.length
  }

  either(): boolean {
    let holds = this.#both()
    while (this.#take('or')) holds = this.#both() || holds
    return holds
  }

  #both(): boolean {
    let holds = this.#one()
    while (this.#take('and')) holds = this.#one() && holds
    return holds
  }

  #one(): boolean {
    if (this.#take('(')) {
      const holds = this.either()
      if (!this.#take(')')) throw invalid(this.#text)
      return holds
    }
    const left = this.#value()
    const operator = (this.#tokens[this.#at++] ?? '').replace(/\s+/, ' ')
    const right = this.#value()
    return this.#compare(left, operator, right)
  }

  #take(token: string): boolean {
    if (this.#tokens[this.#at] !== token) return false
    this.#at += 1
    return true
  }

  #value(): Value {
    const token = this.#tokens[this.#at++] ?? ''
    if (/^['"]/.test(token)) return { text: token.slice(1, -1) }
    const { pythonVersion, machine } = this.#environment
    const variables: Readonly<Record<string, string>> = {
      python_version: pythonVersion,
      // Of the last digit only the package archive knows; markers that ask for it are rare, and ask for a lower bound.
      python_full_version: `${pythonVersion}.99`,
      os_name: 'posix',
      sys_platform: 'linux',
      platform_system: 'Linux',
      platform_machine: machine,
      platform_python_implementation: 'CPython',
      implementation_name: 'cpython',
      implementation_version: `${pythonVersion}.99`,
      platform_release: '',
      platform_version: '',
      extra: '',
    }
    const text = variables[token]
    if (text === undefined) throw invalid(this.#text)
    return { text, variable: token }
  }

  #compare(left: Value, operator: string, right: Value): boolean {
    if (left.variable === 'extra' || right.variable === 'extra') {
      const name = normalise(left.variable === 'extra' ? right.text : left.text)
      const has = this.#environment.extras.has(name)
      return operator === '!=' ? !has : has
    }
    if (operator === 'in') return right.text.includes(left.text)
    if (operator === 'not in') return !right.text.includes(left.text)
    const isVersion = /version/.test(left.variable ?? right.variable ?? '') && /^\d/.test(left.text)
    if (isVersion && /^\d/.test(right.text)) return compare(left.text, operator, right.text)
    if (operator === '==' || operator === '===') return left.text === right.text
    if (operator === '!=') return left.text !== right.text
    if (/^[<>]=?$/.test(operator)) return operator.endsWith('=') && left.text === right.text
    throw invalid(this.#text)
  }
}

interface Value {
  text: string
  variable?: string
}

function invalid(text: string): SyntaxError {
  return new SyntaxError(`Cannot read environment marker "${text}"`)
}

/** A project or extra name as it is compared (PEP 503). */
export function normalise(name: string): string {
  return name.toLowerCase().replaceAll(/[-_.]+/g, '-')
}
