import { messageOf } from '../errors.ts'
import { isDocument, parseDocument, parseStructure } from './document.ts'
import { DocumentFault } from './json.ts'
import { findPlace, listLeaves, listPlaces, renderEnvName, renderFlagName } from './names.ts'
import type { Place } from './names.ts'
import type { ConfigOptions, ConfigProblem, ConfigValues } from './options.ts'
import { insideOf, isStructured } from './spec.ts'
import type { ValueSpec } from './spec.ts'
import { suggest } from './suggest.ts'
import { merge, nest, renderKey, textTree } from './tree.ts'
import type { Tree } from './tree.ts'

/** What the layers say together, and what of them cannot be understood. */
export interface Layers {
  readonly tree: Tree | undefined
  readonly problems: readonly ConfigProblem[]
  readonly warnings: readonly ConfigProblem[]
}

/** Lays the texts over one another, lowest first. */
export async function readLayers(spec: ValueSpec, options: ConfigOptions, values: ConfigValues): Promise<Layers> {
  const builder = new LayerBuilder(spec, options)
  for (const { origin, message } of values.faults ?? []) builder.fault(origin, message)
  for (const { name, text } of values.files ?? []) await builder.addDocument(name, text)
  for (const { name, entries } of values.mounted ?? []) await builder.addMounted(name, entries)
  if (options.env !== undefined) await builder.addEnvironment(values.env ?? {}, options.env)
  await builder.addArgs(values.args ?? [])
  return builder
}

class LayerBuilder implements Layers {
  tree: Tree | undefined
  readonly problems: ConfigProblem[] = []
  readonly warnings: ConfigProblem[] = []
  readonly #spec: ValueSpec
  readonly #options: ConfigOptions

  constructor(spec: ValueSpec, options: ConfigOptions) {
    this.#spec = spec
    this.#options = options
  }

  fault(origin: string, message: string): void {
    this.problems.push({ kind: 'source', key: '', origin, message: `${origin}: ${message}` })
  }

  async addDocument(name: string, text: string): Promise<void> {
    try {
      this.tree = merge(this.tree, await parseDocument(name, text, `file ${name}`))
    } catch (error) {
      const line = error instanceof DocumentFault && error.line !== undefined ? `:${error.line}` : ''
      this.fault(`file ${name}${line}`, describeFault(error))
    }
  }

  async addMounted(dir: string, entries: Readonly<Record<string, string>>): Promise<void> {
    const names = Object.keys(entries).toSorted()
    const isPlace = new Set(listPlaces(this.#spec).map(({ path }) => path.join('.')))
    const isWhole = (name: string): boolean => isDocument(name) && !isPlace.has(name)
    for (const name of names.filter(isWhole)) await this.addDocument(`${dir}/${name}`, entries[name] ?? '')
    for (const name of names.filter((other) => !isWhole(other))) {
      const prefix = this.#options.env ?? ''
      const bare = prefix !== '' && name.startsWith(prefix) ? name.slice(prefix.length) : name
      const place = findPlace(this.#spec, bare, /\.|__/)
      const origin = `file ${dir}/${name}`
      if (place) await this.#set(place, withoutLastBreak(entries[name] ?? ''), origin, { mayBeYaml: true })
      else
        this.problems.push(
          this.#unknown(
            name,
            origin,
            listLeaves(this.#spec).map(({ path }) => path.join('.')),
          ),
        )
    }
  }

  async addEnvironment(env: Readonly<Record<string, string | undefined>>, prefix: string): Promise<void> {
    const names = Object.keys(env).filter((name) => name.startsWith(prefix) && name !== prefix)
    const setBy = new Map<string, string>()
    // What is spelled as documented comes last, and so wins.
    const places = names.map((name) => ({ name, place: findPlace(this.#spec, name.slice(prefix.length), /__/) }))
    const isExact = ({ name, place }: (typeof places)[number]): boolean =>
      place !== undefined && renderEnvName(prefix, place.path) === name
    for (const found of [...places].toSorted(
      (a, b) => Number(isExact(a)) - Number(isExact(b)) || (a.name < b.name ? -1 : 1),
    )) {
      const { name, place } = found
      const value = env[name]
      // Set to nothing counts as not set, which is what templates mean by it.
      if (value === undefined || value.trim() === '' || isServiceLink(name, value, env)) continue
      const origin = `env ${name}`
      if (place === undefined) {
        // Without a prefix everything in the environment would be unknown.
        const known = listLeaves(this.#spec).map(({ path }) => renderEnvName(prefix, path))
        if (prefix !== '') this.warnings.push(this.#unknown(name, origin, known, 'variable'))
        continue
      }
      const key = renderKey(place.path)
      const other = setBy.get(key)
      if (other !== undefined) {
        const message = `${key} is set by ${other} and by ${name}; ${name} is used`
        this.warnings.push({ kind: 'invalid', key, origin, message })
      }
      setBy.set(key, name)
      await this.#set(place, value, origin, { mayBeYaml: false })
    }
  }

  async addArgs(args: readonly string[]): Promise<void> {
    for (let index = 0; index < args.length; index++) {
      const word = args[index] ?? ''
      if (word === '--') return
      const [, no, name = '', , given] = /^--(no-)?([^=]+)(=([\s\S]*))?$/.exec(word) ?? []
      const whole = name === '' ? undefined : findPlace(this.#spec, `${no ?? ''}${name}`, /\./)
      const place = whole ?? (name === '' ? undefined : findPlace(this.#spec, name, /\./))
      const isNegated = no !== undefined && whole === undefined
      const origin = `flag ${word.split('=', 1)[0]}`
      if (place === undefined) {
        this.problems.push(
          this.#unknown(
            word.split('=', 1)[0] ?? '',
            origin,
            listLeaves(this.#spec).map(({ path }) => renderFlagName(path)),
            'flag',
          ),
        )
        if (given === undefined && !(args[index + 1] ?? '--').startsWith('--')) index += 1
        continue
      }
      if (isNegated || (given === undefined && isBoolean(place.spec))) {
        if (given === undefined) await this.#set(place, isNegated ? 'false' : 'true', origin, { mayBeYaml: false })
        else this.fault(origin, 'it takes no value')
        continue
      }
      const value = given ?? args[index + 1]
      if (given === undefined) index += 1
      if (value === undefined || (given === undefined && value.startsWith('--'))) {
        this.fault(origin, `it needs a value, as in ${renderFlagName(place.path)}=...`)
        if (value !== undefined) index -= 1
      } else await this.#set(place, value, origin, { mayBeYaml: false })
    }
  }

  async #set(
    place: Place,
    text: string,
    origin: string,
    { mayBeYaml }: { readonly mayBeYaml: boolean },
  ): Promise<void> {
    try {
      const value = isStructured(place.spec)
        ? await parseStructure(text, origin, { isList: isList(place.spec), mayBeYaml })
        : textTree(text, origin)
      this.tree = merge(this.tree, nest(place.path, value))
    } catch (error) {
      const key = renderKey(place.path)
      const message = `${key} cannot be read: ${describeFault(error)} (${origin})`
      this.problems.push({ kind: 'invalid', key, origin, message })
    }
  }

  #unknown(name: string, origin: string, known: readonly string[], word = 'key'): ConfigProblem {
    const near = suggest(name, known)
    const rest = near === undefined ? '' : `, did you mean ${JSON.stringify(near)}?`
    return { kind: 'unknown', key: name, origin, message: `${name} is not a known ${word}${rest} (${origin})` }
  }
}

/**
 * What Kubernetes puts into every container for each Service of the namespace. A Service "orders" gives ORDERS_PORT
 * (`tcp://10.0.0.7:80`), which would become the key `port` of a service that reads `ORDERS_`.
 */
function isServiceLink(name: string, value: string, env: Readonly<Record<string, string | undefined>>): boolean {
  if (/_PORT_\d+_(TCP|UDP|SCTP)(_(PROTO|PORT|ADDR))?$/.test(name)) return true
  const service = /^(.+?)_(SERVICE_HOST|SERVICE_PORT(_.+)?|PORT)$/.exec(name)?.[1]
  if (service === undefined || env[`${service}_SERVICE_HOST`] === undefined) return false
  return !name.endsWith('_PORT') || name.endsWith('_SERVICE_PORT') || /^(tcp|udp|sctp):\/\//.test(value)
}

function isBoolean(spec: ValueSpec): boolean {
  return spec.kind === 'boolean' || (spec.kind === 'schema' && spec.json?.['type'] === 'boolean')
}

function isList(spec: ValueSpec): boolean {
  return spec.kind === 'list' || (spec.kind === 'schema' && insideOf(spec) === undefined)
}

/** Editors end files with a line break that nobody means. */
function withoutLastBreak(text: string): string {
  return text.replace(/^\uFEFF/, '').replace(/\r?\n$/, '')
}

function describeFault(error: unknown): string {
  // Anything else is a failure of a parser, whose words may quote the text.
  if (error instanceof DocumentFault) return error.message
  return error instanceof RangeError
    ? 'it is nested too deep'
    : (messageOf(error).split('\n', 1)[0]?.slice(0, 100) ?? '')
}
