import { badRequest } from './status.ts'

/** One comparison of a selector; all of them must hold. */
export interface Requirement {
  readonly key: string
  readonly operator: 'in' | 'notin' | 'exists' | 'absent' | 'greater' | 'less'
  readonly values: readonly string[]
}

/** Reads a label selector such as `app=web,tier in (a,b),!legacy`. */
export function parseLabelSelector(text: string): Requirement[] {
  const tokens = tokenise(text)
  const requirements: Requirement[] = []
  let at = 0
  while (at < tokens.length) {
    const { requirement, next } = parseRequirement(tokens, at, text)
    requirements.push(requirement)
    at = next
    if (at >= tokens.length) break
    if (tokens[at] !== ',') throw unparsable(text, `found "${tokens[at]}", expected: ","`)
    at += 1
  }
  return requirements
}

/** Reads a field selector such as `metadata.name=web,status.phase!=Running`. */
export function parseFieldSelector(text: string): Requirement[] {
  return splitUnescaped(text)
    .filter((term) => term !== '')
    .map((term) => {
      const found = /^([^=!]+)(!=|==|=)(.*)$/s.exec(term)
      if (found === null) throw badRequest(`invalid selector: "${text}"; can't understand "${term}"`)
      const [, key = '', operator, value = ''] = found
      const values = [value.replaceAll(/\\([\\,=])/g, '$1')]
      return { key: key.trim(), operator: operator === '!=' ? 'notin' : 'in', values }
    })
}

/** Whether every requirement holds for `values`. An absent key counts as not equal to anything. */
export function matches(requirements: readonly Requirement[], values: Readonly<Record<string, string>>): boolean {
  return requirements.every((requirement) => holds(requirement, values))
}

/** The one value that a selector leaves for `key`, if it asks for equality. */
export function exactValue(requirements: readonly Requirement[], key: string): string | undefined {
  const found = requirements.find((item) => item.key === key && item.operator === 'in' && item.values.length === 1)
  return found?.values[0]
}

/** `app=web,tier=a`: how `status.selector` of a Scale spells a LabelSelector. */
export function renderLabelSelector(selector: {
  matchLabels?: Record<string, string> | undefined
  matchExpressions?: { key: string; operator: string; values?: string[] | undefined }[] | undefined
}): string {
  const labels = Object.entries(selector.matchLabels ?? {}).map(([key, value]) => `${key}=${value}`)
  const expressions = (selector.matchExpressions ?? []).map(({ key, operator, values = [] }) => {
    if (operator === 'Exists') return key
    if (operator === 'DoesNotExist') return `!${key}`
    return `${key} ${operator === 'In' ? 'in' : 'notin'} (${values.toSorted().join(',')})`
  })
  return [...labels, ...expressions].toSorted().join(',')
}

function holds({ key, operator, values }: Requirement, present: Readonly<Record<string, string>>): boolean {
  const value = Object.hasOwn(present, key) ? present[key] : undefined
  switch (operator) {
    case 'exists':
      return value !== undefined
    case 'absent':
      return value === undefined
    case 'in':
      return value !== undefined && values.includes(value)
    case 'notin':
      return value === undefined || !values.includes(value)
    case 'greater':
      return value !== undefined && Number(value) > Number(values[0])
    case 'less':
      return value !== undefined && Number(value) < Number(values[0])
  }
}

function tokenise(text: string): string[] {
  return text.match(/[(),]|==|!=|=|!|>|<|[^\s(),=!<>]+/g) ?? []
}

function parseRequirement(
  tokens: readonly string[],
  at: number,
  text: string,
): { requirement: Requirement; next: number } {
  const first = tokens[at] ?? ''
  if (first === '!') {
    return { requirement: { key: word(tokens, at + 1, text), operator: 'absent', values: [] }, next: at + 2 }
  }
  const key = word(tokens, at, text)
  const operator = tokens[at + 1]
  if (operator === undefined || operator === ',')
    return { requirement: { key, operator: 'exists', values: [] }, next: at + 1 }
  if (operator === 'in' || operator === 'notin') {
    const { values, next } = parseValues(tokens, at + 2, text)
    return { requirement: { key, operator, values }, next }
  }
  const known = comparisons.get(operator)
  if (known === undefined) throw unparsable(text, `found "${operator}", expected: in, notin, =, ==, !=, gt, lt`)
  const value = tokens[at + 2]
  // An empty value is legal: `key=` means the label is there and empty.
  if (value === undefined || value === ',') return { requirement: { key, operator: known, values: [''] }, next: at + 2 }
  return { requirement: { key, operator: known, values: [word(tokens, at + 2, text)] }, next: at + 3 }
}

const comparisons: ReadonlyMap<string, Requirement['operator']> = new Map([
  ['=', 'in'],
  ['==', 'in'],
  ['!=', 'notin'],
  ['>', 'greater'],
  ['<', 'less'],
])

function parseValues(tokens: readonly string[], at: number, text: string): { values: string[]; next: number } {
  if (tokens[at] !== '(') throw unparsable(text, `found "${tokens[at] ?? ''}", expected: "("`)
  const values: string[] = []
  for (let next = at + 1; next < tokens.length; next += 1) {
    const token = tokens[next] ?? ''
    if (token === ')') return { values: values.length === 0 ? [''] : values, next: next + 1 }
    if (token !== ',') values.push(token)
  }
  throw unparsable(text, 'found "", expected: ")"')
}

function word(tokens: readonly string[], at: number, text: string): string {
  const token = tokens[at]
  if (token === undefined || /^[(),=!<>]/.test(token))
    throw unparsable(text, `found "${token ?? ''}", expected: identifier`)
  return token
}

function unparsable(text: string, detail: string): Error {
  return badRequest(`unable to parse requirement: ${detail} in "${text}"`)
}

function splitUnescaped(text: string): string[] {
  return text.match(/(?:\\.|[^\\,])+/gs) ?? []
}
