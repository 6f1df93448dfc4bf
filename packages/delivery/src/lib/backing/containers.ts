import type { App, AppBacking, AppService } from '../app/definition.ts'
import { accountOf, credentialsOf, usedVariables } from './credentials.ts'
import { type Account, type BackingEngine, ENGINES, engineOfScheme } from './engines.ts'

/** A text, or one with a variable of the machine within, which has a value for work on one machine where it is not set. */
export type LocalText =
  | string
  | { readonly variable: string; readonly default: string; readonly before: string; readonly after: string }

/** A database or broker in the words of a container engine. */
export interface BackingContainer {
  /** Host name in the address. */
  readonly name: string
  readonly image: string
  readonly port: number
  readonly env: Readonly<Record<string, LocalText>>
  readonly command: readonly LocalText[] | undefined
  /** Folder with what must survive. */
  readonly data: string
  readonly health: readonly string[]
  /** Names of the services that use it. */
  readonly users: readonly string[]
}

/** Stands for a password in a text. */
const PLACE = '\u0001'
const LOCAL_PASSWORD = 'local'

/**
 * What an app needs beside its services: the backing of its definition, and what environment variables name by an address such
 * as `postgres://app:secret@db/app` whose host is none of the services and no host of the wide world. Where a cluster generates
 * a password there is a variable such as `DB_PASSWORD`. Pure; sorted by name.
 */
export function listBackingContainers(app: App): BackingContainer[] {
  const defined = (app.backing ?? []).map((backing) => fromDefinition(app, backing))
  const taken = new Set([...app.services, ...defined].map(({ name }) => name))
  return [...defined, ...fromAddresses(app.services, taken)].toSorted((a, b) => (a.name < b.name ? -1 : 1))
}

/** The variables by which a service reaches what it uses, on a container engine. Pure. */
export function listLocalVariables(app: App, service: AppService): Record<string, LocalText> {
  const entries = usedVariables(app, service).map(({ name, backing, field }): [string, LocalText] => [
    name,
    toLocalText(encodeURIComponent, credentialsOf(backing, PLACE)[field], backing.name),
  ])
  return Object.fromEntries(entries)
}

function fromDefinition(app: App, backing: AppBacking): BackingContainer {
  const { name } = backing
  const users = app.services.filter(({ uses }) => uses?.includes(name)).map((service) => service.name)
  return toContainer({ ...backing, users }, accountOf(backing, PLACE))
}

function fromAddresses(services: readonly AppService[], taken: ReadonlySet<string>): BackingContainer[] {
  const found = new Map<string, BackingContainer>()
  for (const service of services) {
    for (const value of Object.values(service.env)) {
      const url = typeof value === 'string' && URL.canParse(value) ? new URL(value) : undefined
      const engine = url && engineOfScheme(url.protocol.slice(0, -1))
      if (!url || !engine || taken.has(url.hostname) || !/^[a-z][a-z0-9-]*$/.test(url.hostname)) continue
      if (url.hostname === 'localhost') continue
      const known = found.get(url.hostname)
      const users = [...new Set([...(known?.users ?? []), service.name])]
      found.set(url.hostname, known ? { ...known, users } : fromAddress(url, engine, users))
    }
  }
  return [...found.values()]
}

function fromAddress(url: URL, engine: BackingEngine, users: readonly string[]): BackingContainer {
  const account = {
    username: decodeURIComponent(url.username),
    password: decodeURIComponent(url.password),
    database: decodeURIComponent(url.pathname.replace(/^\//, '')),
  }
  const { repository, version } = ENGINES[engine]
  return toContainer({ name: url.hostname, engine, version, image: `${repository}:${version}`, users }, account)
}

function toContainer(
  found: Pick<AppBacking, 'name' | 'engine' | 'version' | 'image'> & { users: readonly string[] },
  account: Account,
): BackingContainer {
  const { port, data, env, command, health } = ENGINES[found.engine]
  const toText = (text: string): LocalText => toLocalText(String, text, found.name)
  return {
    name: found.name,
    image: found.image,
    port,
    env: Object.fromEntries(Object.entries(env?.(account) ?? {}).map(([name, text]) => [name, toText(text)])),
    command: command?.(account)?.map(toText),
    data: data(found.version),
    health: health(account),
    users: found.users,
  }
}

/** `encode` is what was done to the place. */
function toLocalText(encode: (text: string) => string, text: string, name: string): LocalText {
  const place = [PLACE, encode(PLACE)].find((candidate) => text.includes(candidate))
  if (place === undefined) return text
  const [before = '', after = ''] = text.split(place)
  return { variable: `${name.toUpperCase().replaceAll('-', '_')}_PASSWORD`, default: LOCAL_PASSWORD, before, after }
}
