/** Compares two release numbers by an operator of version specifiers, as far as markers use them: digits, and `.*` behind `==` and `!=`. */
export function compare(left: string, operator: string, right: string): boolean {
  if (right.endsWith('.*')) {
    const prefix = right.slice(0, -2).split('.')
    const isSame = prefix.every((part, index) => Number(left.split('.')[index] ?? 0) === Number(part))
    if (operator === '==') return isSame
    if (operator === '!=') return !isSame
  }
  const order = orderOf(left, right)
  switch (operator) {
    case '==':
    case '===':
      return order === 0
    case '!=':
      return order !== 0
    case '<':
      return order < 0
    case '<=':
      return order <= 0
    case '>':
      return order > 0
    case '>=':
      return order >= 0
    case '~=':
      return order >= 0 && compare(left, '==', `${right.split('.').slice(0, -1).join('.')}.*`)
    default:
      throw new SyntaxError(`Cannot compare versions by "${operator}"`)
  }
}

function orderOf(left: string, right: string): number {
  const [a, b] = [left, right].map((text) => text.split('.').map((part) => Number.parseInt(part, 10) || 0))
  if (!a || !b) return 0
  for (let index = 0; index < Math.max(a.length, b.length); index += 1) {
    const difference = (a[index] ?? 0) - (b[index] ?? 0)
    if (difference !== 0) return difference
  }
  return 0
}
