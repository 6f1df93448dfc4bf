/** From most to least talkative. `silent` is only a threshold: nothing is written at it. */
export type LogLevel = 'trace' | 'debug' | 'info' | 'warn' | 'error' | 'fatal' | 'silent'

/** A level a line can have. */
export type LineLevel = Exclude<LogLevel, 'silent'>

/** The thresholds of a logger and of the named loggers made from it. All of them can be changed while the service runs. */
export interface LogLevels {
  /** What was set: `root` is the threshold of everything that has none of its own. */
  readonly configured: Readonly<Record<string, LogLevel>>
  /** What holds now for each logger that has been made. */
  readonly effective: Readonly<Record<string, LogLevel>>
  /**
   * Sets the threshold of a name and of everything below it (`db` covers `db.pool`); undefined takes it back. For `root`
   * undefined means `info`. Takes effect with the next line.
   */
  set(name: string, level: LogLevel | undefined): void
}

/** What the threshold of loggers without a name is called. */
export const rootName = 'root'

export const severityOf: Readonly<Record<LogLevel, number>> = {
  trace: 10,
  debug: 20,
  info: 30,
  warn: 40,
  error: 50,
  fatal: 60,
  silent: 100,
}

export const logLevels: readonly LogLevel[] = ['trace', 'debug', 'info', 'warn', 'error', 'fatal', 'silent']

export const lineLevels: readonly LineLevel[] = ['trace', 'debug', 'info', 'warn', 'error', 'fatal']

export function isLogLevel(text: string): text is LogLevel {
  return Object.hasOwn(severityOf, text)
}

/** Names of loggers: segments separated by dots. */
export function isLoggerName(text: string): boolean {
  return text.length <= 100 && /^[\w-]+(\.[\w-]+)*$/.test(text)
}

/**
 * Reads `info,db=debug,http.client=warn`: the root's level and those of names, in any order.
 * Returns undefined when it is not of that form.
 */
export function parseLogLevels(text: string): Record<string, LogLevel> | undefined {
  const levels: Record<string, LogLevel> = {}
  for (const part of text.split(',')) {
    const [first = '', second, ...more] = part.split('=').map((word) => word.trim())
    const [name, level] = second === undefined ? [rootName, first.toLowerCase()] : [first, second.toLowerCase()]
    if (more.length > 0 || !isLogLevel(level) || !isLoggerName(name) || Object.hasOwn(levels, name)) return undefined
    levels[name] = level
  }
  return levels
}

/** The threshold of one name. Loggers hold on to it, so that a change reaches them without a lookup per line. */
export interface LevelNode {
  readonly name: string
  level: LogLevel
  threshold: number
}

/** Names beyond this share the root's threshold: a name made from input must not fill memory. */
const maxNodes = 1000

export function createLevelTable(initial: Readonly<Record<string, LogLevel>>): LogLevels & {
  readonly root: LevelNode
  node(name: string): LevelNode
} {
  const configured = new Map<string, LogLevel>(Object.entries({ [rootName]: 'info', ...initial }))
  const root = nodeOf(rootName, configured)
  const nodes = new Map<string, LevelNode>([[rootName, root]])
  return {
    root,
    node(name) {
      let node = nodes.get(name)
      if (node === undefined) {
        if (nodes.size >= maxNodes) return root
        node = nodeOf(name, configured)
        nodes.set(name, node)
      }
      return node
    },
    get configured() {
      return Object.fromEntries(configured)
    },
    get effective() {
      return Object.fromEntries(nodes.values().map(({ name, level }) => [name, level]))
    },
    set(name, level) {
      if (level !== undefined) configured.set(name, level)
      else if (name === rootName) configured.set(rootName, 'info')
      else configured.delete(name)
      for (const node of nodes.values()) Object.assign(node, thresholdOf(node.name, configured))
    },
  }
}

function nodeOf(name: string, configured: ReadonlyMap<string, LogLevel>): LevelNode {
  return { name, ...thresholdOf(name, configured) }
}

/** The level of the longest configured prefix. */
function thresholdOf(
  name: string,
  configured: ReadonlyMap<string, LogLevel>,
): { readonly level: LogLevel; readonly threshold: number } {
  for (let at = name; at !== ''; at = at.slice(0, Math.max(0, at.lastIndexOf('.')))) {
    const level = configured.get(at)
    if (level !== undefined) return { level, threshold: severityOf[level] }
  }
  const level = configured.get(rootName) ?? 'info'
  return { level, threshold: severityOf[level] }
}
