/** The type of an expression. */
export type Type = (
  | { readonly kind: Simple }
  | { readonly kind: 'list'; readonly of: Type }
  | { readonly kind: 'map'; readonly key: Type; readonly value: Type }
  | { readonly kind: 'optional'; readonly of: Type }
  | { readonly kind: 'object'; readonly name: string; readonly fields: ReadonlyMap<string, Type> }
  | { readonly kind: 'opaque'; readonly name: string }
  | { readonly kind: 'param'; readonly name: string }
) & {
  /** How long values can be (bytes, elements), where something bounds them; what costs are estimated from. */
  readonly maxElements?: number | undefined
  /** The least a value needs as JSON. */
  readonly minSize?: number | undefined
}

type Simple =
  | 'dyn'
  | 'bool'
  | 'int'
  | 'uint'
  | 'double'
  | 'string'
  | 'bytes'
  | 'null'
  | 'timestamp'
  | 'duration'
  | 'type'

const simple = new Set<string>('dyn bool int uint double string bytes null timestamp duration type'.split(' '))

export const dyn: Type = { kind: 'dyn' }
export const boolType: Type = { kind: 'bool' }

export function listOf(of: Type): Type {
  return { kind: 'list', of }
}

/** Reads the notation of the declarations: `list<A>`, `map<string,B>`, `optional<A>`, a name. */
export function parseType(text: string): Type {
  const generic = /^(list|map|optional)<(.+)>$/.exec(text)
  if (generic !== null) {
    const parts = splitArguments(generic[2] ?? '').map(parseType)
    const [first = dyn, second = dyn] = parts
    if (generic[1] === 'list') return listOf(first)
    return generic[1] === 'map' ? { kind: 'map', key: first, value: second } : { kind: 'optional', of: first }
  }
  if (/^[A-Z]$/.test(text)) return { kind: 'param', name: text }
  return simple.has(text) ? { kind: text as Simple } : { kind: 'opaque', name: text }
}

export function splitArguments(text: string): string[] {
  const parts: string[] = []
  let depth = 0
  let part = ''
  for (const char of text) {
    if (char === '<') depth += 1
    if (char === '>') depth -= 1
    if (char === ',' && depth === 0) {
      parts.push(part)
      part = ''
    } else part += char
  }
  return part === '' ? parts : [...parts, part]
}

/** The type as messages name it. */
export function renderType(type: Type): string {
  switch (type.kind) {
    case 'list':
      return `list(${renderType(type.of)})`
    case 'map':
      return `map(${renderType(type.key)}, ${renderType(type.value)})`
    case 'optional':
      return `optional_type(${renderType(type.of)})`
    case 'object':
    case 'opaque':
      return type.name
    case 'param':
      return 'dyn'
    case 'timestamp':
      return 'timestamp'
    default:
      return type.kind
  }
}
