/** As much of an ESTree node as is needed here. */
export interface SyntaxNode {
  type: string
  start: number
  end: number
  [field: string]: unknown
}

/** Whether a value found in a tree is a node. */
function isNode(value: unknown): value is SyntaxNode {
  return typeof value === 'object' && value !== null && typeof (value as SyntaxNode).type === 'string'
}

/** The node in a field, if there is one. */
export function child(node: SyntaxNode, field: string): SyntaxNode | undefined {
  const value = node[field]
  return isNode(value) ? value : undefined
}

/** The nodes in a field that holds a list. */
export function children(node: SyntaxNode, field: string): SyntaxNode[] {
  const value = node[field]
  return Array.isArray(value) ? value.filter(isNode) : []
}

/** Calls `visit` for every node, parents first, with the chain of ancestors; an answer of `false` skips what is inside. */
export function walk(
  node: SyntaxNode,
  visit: (node: SyntaxNode, ancestors: readonly SyntaxNode[]) => boolean | void,
  ancestors: readonly SyntaxNode[] = [],
): void {
  if (visit(node, ancestors) === false) return
  const inside = [...ancestors, node]
  for (const value of Object.values(node)) {
    for (const item of Array.isArray(value) ? value : [value]) if (isNode(item)) walk(item, visit, inside)
  }
}

/** `name` of an identifier. */
export function identifierName(node: SyntaxNode | undefined): string | undefined {
  return node?.type === 'Identifier' ? String(node['name']) : undefined
}

/** `a.b` as `['a', 'b']`; `import.meta.url` as `['import.meta', 'url']`. */
export function memberNames(node: SyntaxNode | undefined): [string, string] | undefined {
  if (node?.type !== 'MemberExpression' || node['computed'] === true) return undefined
  const object = child(node, 'object')
  const owner = object?.type === 'MetaProperty' ? 'import.meta' : identifierName(object)
  const property = identifierName(child(node, 'property'))
  return owner !== undefined && property !== undefined ? [owner, property] : undefined
}

/** Text of a string literal. */
export function literalText(node: SyntaxNode | undefined): string | undefined {
  return node?.type === 'Literal' && typeof node['value'] === 'string' ? node['value'] : undefined
}

/** Name a call goes to: `join` for `join(…)`, `path.join(…)` and `require('path').join(…)`. */
export function calleeName(node: SyntaxNode | undefined): string | undefined {
  if (node?.type !== 'CallExpression' && node?.type !== 'NewExpression') return undefined
  const callee = child(node, 'callee')
  if (callee?.type !== 'MemberExpression') return identifierName(callee)
  return callee['computed'] === true ? undefined : identifierName(child(callee, 'property'))
}
