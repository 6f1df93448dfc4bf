import { RE2JS } from 're2js'

/** A regular expression of a schema. */
export interface Pattern {
  readonly source: string
  test(text: string): boolean
}

const kept = new Map<string, Pattern>()
const keptLimit = 2000

/**
 * Compiles a pattern as Go reads it (RE2): its syntax is what schemas are written in, and the time it takes is linear in
 * the text, whatever the pattern. Throws a SyntaxError for what RE2 does not accept.
 */
export function compilePattern(source: string): Pattern {
  let pattern = kept.get(source)
  if (pattern === undefined) {
    pattern = new Re2Pattern(source, compile(source))
    if (kept.size >= keptLimit) kept.clear()
    kept.set(source, pattern)
  }
  return pattern
}

class Re2Pattern implements Pattern {
  readonly source: string
  readonly #compiled: RE2JS

  constructor(source: string, compiled: RE2JS) {
    this.source = source
    this.#compiled = compiled
  }

  test(text: string): boolean {
    return this.#compiled.test(text)
  }
}

function compile(source: string): RE2JS {
  try {
    return RE2JS.compile(source)
  } catch (error) {
    throw new SyntaxError(error instanceof Error ? error.message : String(error), { cause: error })
  }
}
