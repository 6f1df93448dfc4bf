import { badRequest } from './status.ts'

/** One comparison of a selector; all of them must hold. */
export interface Requirement {
  readonly key: string
  readonly operator: 'in' | 'notin' | 'exists' | 'absent' | 'greater' | 'less'
  readonly values: readonly string[]
}

/** Reads a field selector such as `metadata.name=web,status.phase!=Running`; throws 400 in upstream's words. */
export function parseFieldSelector(text: string): Requirement[] {
  return splitUnescaped(text)
    .filter((term) => term !== '')
    .map((term) => {
      const found = /^(.*?)(!=|==|=)(.*)$/s.exec(term)
      if (found === null) throw badRequest(`invalid selector: '${text}'; can't understand '${term}'`)
      const [, key = '', operator, value = ''] = found
      return { key, operator: operator === '!=' ? 'notin' : 'in', values: [unescapeValue(value)] }
    })
}

/** What stands behind a backslash is meant as it is; nothing but the three special characters needs that. */
function unescapeValue(text: string): string {
  const wrong = /(?:^|[^\\])(?:\\\\)*(\\(?:[^\\,=]|$))/.exec(text)
  if (wrong !== null) throw badRequest(`invalid field selector: invalid escape sequence: ${wrong[1]}`)
  const unescaped = text.replaceAll(/\\[\\,=]/g, '').match(/[,=]/)
  if (unescaped !== null) {
    throw badRequest(`invalid field selector: unescaped character in value: ${unescaped[0].charCodeAt(0)}`)
  }
  return text.replaceAll(/\\([\\,=])/g, '$1')
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
      return isInteger(value) && Number(value) > Number(values[0])
    case 'less':
      return isInteger(value) && Number(value) < Number(values[0])
  }
}

function isInteger(value: string | undefined): boolean {
  return value !== undefined && /^[+-]?\d{1,18}$/.test(value)
}

function splitUnescaped(text: string): string[] {
  return text.match(/(?:\\.|\\$|[^\\,])+/gs) ?? []
}
