import { dirname, resolve } from 'node:path'
import { fileURLToPath, pathToFileURL } from 'node:url'

import { calleeName, child, children, identifierName, literalText, memberNames, walk } from './syntax.ts'
import type { SyntaxNode } from './syntax.ts'

/** What is known of the text an expression gives before the program runs. */
export interface StaticText {
  text: string
  /** Whether it was computed from the place of the module; only then it names a file of the project. */
  isLocated: boolean
  /** Whether more, unknown text follows: `text` is then the beginning of a path. */
  isPrefix: boolean
}

/** Computes texts that depend only on literals, constants and the place of the module itself. */
export class StaticPaths {
  readonly #file: string
  readonly #constants = new Map<string, SyntaxNode>()
  readonly #open = new Set<SyntaxNode>()

  constructor(program: SyntaxNode, file: string) {
    this.#file = file
    walk(program, (node) => {
      if (node.type !== 'VariableDeclaration') return
      for (const declarator of children(node, 'declarations')) {
        const name = identifierName(child(declarator, 'id'))
        const init = child(declarator, 'init')
        if (name !== undefined && init) this.#constants.set(name, init)
      }
    })
  }

  /** Whether the module declares the name itself. */
  declares(name: string): boolean {
    return this.#constants.has(name)
  }

  evaluate(node: SyntaxNode | undefined): StaticText | undefined {
    if (!node || this.#open.has(node)) return undefined
    this.#open.add(node)
    try {
      return this.#evaluate(node)
    } finally {
      this.#open.delete(node)
    }
  }

  #evaluate(node: SyntaxNode): StaticText | undefined {
    const literal = literalText(node)
    if (literal !== undefined) return { text: literal, isLocated: false, isPrefix: false }
    if (node.type === 'Identifier') return this.#named(String(node['name']))
    if (node.type === 'MemberExpression') return this.#member(node)
    if (node.type === 'TemplateLiteral') return this.#template(node)
    if (node.type === 'ParenthesizedExpression') return this.evaluate(child(node, 'expression'))
    if (node.type === 'BinaryExpression' && node['operator'] === '+') {
      return concatenate([this.evaluate(child(node, 'left')), this.evaluate(child(node, 'right'))])
    }
    return this.#call(node)
  }

  #named(name: string): StaticText | undefined {
    const init = this.#constants.get(name)
    if (init) return this.evaluate(init)
    if (name === '__dirname') return located(dirname(this.#file))
    return name === '__filename' ? located(this.#file) : undefined
  }

  #member(node: SyntaxNode): StaticText | undefined {
    const [owner, property] = memberNames(node) ?? []
    if (owner === 'import.meta' && property === 'url') return located(pathToFileURL(this.#file).href)
    if (owner === 'import.meta' && property === 'dirname') return located(dirname(this.#file))
    if (owner === 'import.meta' && property === 'filename') return located(this.#file)
    const name = identifierName(child(node, 'property'))
    const object = child(node, 'object')
    if (object?.type !== 'NewExpression' || (name !== 'pathname' && name !== 'href')) return undefined
    return this.evaluate(object)
  }

  #template(node: SyntaxNode): StaticText | undefined {
    const quasis = children(node, 'quasis').map((quasi) => (quasi['value'] as { cooked?: string }).cooked ?? '')
    const parts: (StaticText | undefined)[] = [{ text: quasis[0] ?? '', isLocated: false, isPrefix: false }]
    for (const [index, expression] of children(node, 'expressions').entries()) {
      parts.push(this.evaluate(expression), { text: quasis[index + 1] ?? '', isLocated: false, isPrefix: false })
    }
    return concatenate(parts)
  }

  #call(node: SyntaxNode): StaticText | undefined {
    const name = calleeName(node)
    const args = children(node, 'arguments')
    if (name === 'URL' && node.type === 'NewExpression') return this.#url(args)
    const values = args.map((arg) => this.evaluate(arg))
    const first = values[0]
    if (name === 'fileURLToPath' && first) return mapText(first, toPath)
    if (name === 'dirname' && first && !first.isPrefix) return mapText(first, dirname)
    if (name === 'join' || name === 'resolve' || name === 'normalize') return joinKnown(values)
    return undefined
  }

  #url(args: readonly SyntaxNode[]): StaticText | undefined {
    const base = this.evaluate(args[1])
    const target = this.evaluate(args[0])
    if (!base?.isLocated || !target || !base.text.startsWith('file:')) return undefined
    if (/^[a-z][a-z0-9+.-]*:/i.test(target.text)) return undefined
    return { text: new URL(target.text, base.text).href, isLocated: true, isPrefix: target.isPrefix }
  }
}

/** The file or folder a located text names: for a text with an unknown rest, the folder that rest lies in. */
export function pathOf(value: StaticText): string {
  const path = toPath(value.text)
  if (!value.isPrefix) return resolve(path)
  return path.endsWith('/') ? resolve(path) : dirname(path)
}

function located(text: string): StaticText {
  return { text, isLocated: true, isPrefix: false }
}

function mapText(value: StaticText, map: (text: string) => string): StaticText {
  return { ...value, text: map(value.text) }
}

function toPath(text: string): string {
  if (!text.startsWith('file:')) return text
  const url = new URL(text)
  url.search = ''
  url.hash = ''
  return fileURLToPath(url)
}

function concatenate(parts: readonly (StaticText | undefined)[]): StaticText | undefined {
  let text = ''
  let isLocated = false
  for (const part of parts) {
    if (!part) return text === '' ? undefined : { text, isLocated, isPrefix: true }
    text += part.text
    isLocated ||= part.isLocated
    if (part.isPrefix) return { text, isLocated, isPrefix: true }
  }
  return { text, isLocated, isPrefix: false }
}

/** `join` and `resolve` over the known first arguments. */
function joinKnown(values: readonly (StaticText | undefined)[]): StaticText | undefined {
  const unknown = values.findIndex((value) => !value || value.isPrefix)
  const known = (unknown === -1 ? values : values.slice(0, unknown)).map((value) => value?.text ?? '')
  if (known.length === 0 || !values[0]?.isLocated) return undefined
  const text = resolve(known[0] ?? '', ...known.slice(1).map((part) => `./${part}`))
  return { text: unknown === -1 ? text : `${text}/`, isLocated: true, isPrefix: unknown !== -1 }
}
