import { statSync } from 'node:fs'
import { dirname, extname, relative, resolve, sep } from 'node:path'

import { parseAst } from './rolldown.ts'

import { APP_DIR, imagePath } from './locations.ts'
import type { Project } from '../source/project.ts'
import { pathOf, StaticPaths } from './static-path.ts'
import type { StaticText } from './static-path.ts'
import { calleeName, child, children, identifierName, literalText, memberNames, walk } from './syntax.ts'
import type { SyntaxNode } from './syntax.ts'

/** Modules without any of these need no second look. */
export const LOCATION_USE: RegExp =
  /__dirname|__filename|import\.meta|require\.main|module\.parent|createRequire|process\.argv\[1\]/

/** What becomes of one module. */
export interface Rewritten {
  code: string
  /** Absolute paths of files and folders the module reads at run time. */
  assets: readonly string[]
  /** Program files the module starts by path, such as workers: they become chunks of their own. */
  programs: readonly { path: string; fileName: string }[]
  /** Uses of its own place whose purpose cannot be told, in words. */
  unknown: readonly string[]
  /** Whether it makes a `require` of its own, which the bundler cannot follow. */
  makesRequire: boolean
  /** Whether it names program files by their path, to start them or to read them. */
  namesPrograms: boolean
}

/** What the rewriting of a module needs to know. */
export interface RewriteOptions {
  project: Project
  code: string
  /** Absolute path of the module. */
  path: string
  lang: 'js' | 'jsx' | 'ts' | 'tsx'
}

/** Names that every chunk defines at its top: the folder of the bundle as a path and as a URL. */
const ROOT = '__fairleadRoot'
const ROOT_URL = '__fairleadUrl'
const PROGRAM = /\.[cm]?[jt]s$/

/** Definition of those names, for the top of a chunk. */
export function chunkIntro(format: 'esm' | 'cjs'): string {
  return format === 'esm'
    ? `const ${ROOT} = import.meta.dirname, ${ROOT_URL} = new URL(".", import.meta.url).href;`
    : `const ${ROOT} = __dirname, ${ROOT_URL} = require("node:url").pathToFileURL(__dirname + "/").href;`
}

interface Edit {
  start: number
  end: number
  text: string
}

/**
 * Makes a module see its old place although it moves into a bundle, and finds the files it reads from there. Answers
 * `undefined` when the module cannot be parsed; the bundler then reports why.
 */
export function rewriteModule(options: RewriteOptions): Rewritten | undefined {
  let program: SyntaxNode
  try {
    program = parseAst(options.code, { lang: options.lang }) as unknown as SyntaxNode
  } catch {
    return undefined
  }
  const rewriter = new Rewriter(options, program)
  walk(program, (node, ancestors) => rewriter.visit(node, ancestors))
  return rewriter.finish()
}

class Rewriter {
  readonly #options: RewriteOptions
  readonly #paths: StaticPaths
  readonly #place: string
  readonly #isEntry: boolean
  readonly #edits: Edit[] = []
  readonly #assets = new Set<string>()
  readonly #programs = new Map<string, string>()
  readonly #unknown: string[] = []
  #makesRequire = false
  #namesPrograms = false

  constructor(options: RewriteOptions, program: SyntaxNode) {
    this.#options = options
    this.#paths = new StaticPaths(program, options.path)
    this.#place = imagePath(options.project, options.path).slice(APP_DIR.length + 1)
    this.#isEntry = options.path === options.project.entry
  }

  visit(node: SyntaxNode, ancestors: readonly SyntaxNode[]): boolean | void {
    if (node.type === 'ImportDeclaration') return false
    if (this.#rewriteStartQuestion(node)) return false
    this.#findRequired(node)
    this.#findFile(node, ancestors)
    this.#rewriteReference(node, ancestors.at(-1))
  }

  finish(): Rewritten {
    const programs = [...this.#programs].map(([path, fileName]) => ({ path, fileName }))
    const code = applyEdits(this.#options.code, this.#edits)
    const [unknown, makesRequire, namesPrograms] = [this.#unknown, this.#makesRequire, this.#namesPrograms]
    return { code, assets: [...this.#assets], programs, unknown, makesRequire, namesPrograms }
  }

  /** "Am I the program that was started?" has no answer of its own inside a bundle: only the entry is. */
  #rewriteStartQuestion(node: SyntaxNode): boolean {
    if (node.type === 'BinaryExpression' && /^[!=]==?$/.test(String(node['operator']))) {
      const sides = [child(node, 'left'), child(node, 'right')]
      const asksMain = sides.some((side) => memberNames(side)?.join('.') === 'require.main')
      const namesModule = sides.some((side) => identifierName(side) === 'module')
      if (!asksMain || !namesModule) return false
      this.#edit(node, String(String(node['operator']).startsWith('=') === this.#isEntry))
      return true
    }
    const names = memberNames(node)?.join('.')
    if (names === 'import.meta.main') this.#edit(node, String(this.#isEntry))
    else if (names === 'module.parent') this.#edit(node, this.#isEntry ? 'null' : '({})')
    else return false
    return true
  }

  /** `require` made by createRequire is a plain function to the bundler. */
  #findRequired(node: SyntaxNode): void {
    if (calleeName(node) !== 'require' || !this.#paths.declares('require')) return
    const target = literalText(children(node, 'arguments')[0])
    if (target?.startsWith('.')) this.#addFile(resolve(dirname(this.#options.path), target), node, [])
  }

  #findFile(node: SyntaxNode, ancestors: readonly SyntaxNode[]): void {
    if (node.type === 'TSTypeReference' || isName(node, ancestors.at(-1))) return
    const value = this.#paths.evaluate(node)
    if (!value?.isLocated) return
    const isInside = ancestors.some((ancestor) => this.#paths.evaluate(ancestor)?.isLocated)
    const isDefinition = ancestors.at(-1)?.type === 'VariableDeclarator'
    if (isInside || (isDefinition && !value.isPrefix && this.#isOwnPlace(value))) return
    if (calleeName(ancestors.at(-1)) === 'createRequire') this.#makesRequire = true
    else if (this.#isOwnPlace(value)) this.#addUnknown(node)
    else this.#addFile(pathOf(value), node, ancestors)
  }

  #isOwnPlace(value: StaticText): boolean {
    const path = pathOf(value)
    return path === this.#options.path || `${this.#options.path}${sep}`.startsWith(`${path}${sep}`)
  }

  #addFile(path: string, node: SyntaxNode, ancestors: readonly SyntaxNode[]): void {
    const found = statSync(path, { throwIfNoEntry: false })
    if (!found) return
    const isProgram = found.isFile() && PROGRAM.test(path)
    if (isProgram) this.#namesPrograms = true
    if (isProgram && ancestors.slice(-3).some(isStart)) this.#addProgram(path, node)
    else this.#assets.add(path)
  }

  #addProgram(path: string, node: SyntaxNode): void {
    const place = imagePath(this.#options.project, path).slice(APP_DIR.length + 1)
    const fileName = `${place.slice(0, -extname(place).length).replaceAll('/', '-')}.js`
    this.#programs.set(path, fileName)
    if (node.type === 'NewExpression') this.#edit(node, `new URL(${JSON.stringify(fileName)}, ${ROOT_URL})`)
    else this.#edit(node, `(${ROOT} + ${JSON.stringify(`/${fileName}`)})`)
  }

  #addUnknown(node: SyntaxNode): void {
    const line = this.#options.code.slice(0, node.start).split('\n').length
    this.#unknown.push(`uses its own path in line ${line}`)
  }

  #rewriteReference(node: SyntaxNode, parent: SyntaxNode | undefined): void {
    const text = this.#replacement(node, parent)
    if (text === undefined) return
    const isShorthand = parent?.type === 'Property' && parent['shorthand'] === true
    this.#edit(node, isShorthand ? `${String(node['name'])}: ${text}` : text)
  }

  #replacement(node: SyntaxNode, parent: SyntaxNode | undefined): string | undefined {
    const folder = this.#place.includes('/') ? `/${this.#place.slice(0, this.#place.lastIndexOf('/'))}` : ''
    const name = isName(node, parent) ? undefined : identifierName(node)
    const member = memberNames(node)?.join('.')
    const isDirname = name === '__dirname' && !this.#paths.declares('__dirname')
    const isFilename = name === '__filename' && !this.#paths.declares('__filename')
    if (isDirname || member === 'import.meta.dirname') return folder ? `(${ROOT} + ${JSON.stringify(folder)})` : ROOT
    if (isFilename || member === 'import.meta.filename') return `(${ROOT} + ${JSON.stringify(`/${this.#place}`)})`
    if (member === 'import.meta.url') return `(${ROOT_URL} + ${JSON.stringify(encodeURI(this.#place))})`
    return isStartedFile(node) ? `(${ROOT} + ${JSON.stringify(`/${this.#entryPlace()}`)})` : undefined
  }

  #entryPlace(): string {
    return relative(this.#options.project.dir, this.#options.project.entry).split(sep).join('/')
  }

  #edit(node: SyntaxNode, text: string): void {
    this.#edits.push({ start: node.start, end: node.end, text })
  }
}

/** Calls that start the program file they are given. */
function isStart(node: SyntaxNode): boolean {
  const name = calleeName(node)
  return name !== undefined && ['Worker', 'fork', 'spawn', 'execFile', 'register', 'Piscina', 'Tinypool'].includes(name)
}

/** Whether an identifier only names a property or a declared variable. */
function isName(node: SyntaxNode, parent: SyntaxNode | undefined): boolean {
  if (node.type !== 'Identifier' || !parent) return false
  if (parent.type === 'MemberExpression') return parent['property'] === node && parent['computed'] !== true
  if (parent.type === 'Property') return parent['key'] === node && parent['shorthand'] !== true
  return parent.type === 'VariableDeclarator' && parent['id'] === node
}

/** `process.argv[1]`: the path of the started program. */
function isStartedFile(node: SyntaxNode): boolean {
  if (node.type !== 'MemberExpression' || node['computed'] !== true) return false
  return memberNames(child(node, 'object'))?.join('.') === 'process.argv' && child(node, 'property')?.['value'] === 1
}

/** Applies edits from the end backwards; of those that overlap, the outer and then the earlier one counts. */
function applyEdits(code: string, edits: readonly Edit[]): string {
  const outermost = edits.filter((edit, index) => !edits.some((other, at) => covers(other, edit, at < index)))
  const sorted = outermost.toSorted((a, b) => b.start - a.start)
  return sorted.reduce((text, edit) => text.slice(0, edit.start) + edit.text + text.slice(edit.end), code)
}

function covers(other: Edit, edit: Edit, isEarlier: boolean): boolean {
  const isSame = other.start === edit.start && other.end === edit.end
  return isSame ? isEarlier : other.start <= edit.start && other.end >= edit.end
}
