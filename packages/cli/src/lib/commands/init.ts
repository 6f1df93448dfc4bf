import { mkdirSync, readdirSync, statSync, writeFileSync } from 'node:fs'
import { basename, dirname, join, relative, resolve } from 'node:path'
import { type Command, defineCommand, jsonOption } from '../command.ts'
import { initRefused } from '../errors.ts'
import { findPackages } from '../init/packages.ts'
import { renderSkeleton } from '../init/templates.ts'

/** `fairlead init` */
export const init: Command = defineCommand({
  name: 'init',
  summary: 'write a small service with tests into a folder',
  description: [
    'A TypeScript service with configuration, a resource, routes, tests and a fairlead.config.ts; its main module only',
    'wires. Asks nothing. The folder is made if it is not there; one with files in it is refused, unless --force.',
  ].join('\n'),
  args: ['[dir]'],
  options: {
    name: { type: 'string', value: 'NAME', help: 'name of the service; default: the name of the folder' },
    force: {
      type: 'boolean',
      help: 'write into a folder with files; replaces those of the same name, keeps all others',
    },
    json: jsonOption,
  },
  examples: [
    { command: 'fairlead init notes', text: 'a service "notes" in the folder notes' },
    { command: 'fairlead init --name notes --json', text: 'in this folder, with the list of files for scripts' },
  ],
  async run({ options, args: [given = '.'], cwd, terminal }) {
    const dir = resolve(cwd, given)
    const isInUse = checkFolder(dir, options.force)
    const name = options.name ?? toName(basename(dir))
    if (!/^[a-z]([a-z0-9-]{0,61}[a-z0-9])?$/.test(name)) {
      const state = `"${name}" is no name of a service, which has lower-case letters, digits and dashes`
      throw initRefused(dir, state, 'Name it with --name')
    }
    const files = renderSkeleton({ name, ...findPackages(dir) })
    for (const [path, text] of Object.entries(files)) {
      const file = join(dir, path)
      mkdirSync(dirname(file), { recursive: true })
      // Nothing that appeared meanwhile is replaced unasked.
      writeFileSync(file, text, { flag: options.force ? 'w' : 'wx' })
    }
    if (options.json) terminal.printJson({ name, dir, files: Object.keys(files) })
    else {
      terminal.print(`${name}: ${Object.keys(files).length} files in ${dir}${isInUse ? ', beside what was there' : ''}`)
      const folder = relative(cwd, dir)
      const enter = folder === '' ? '' : `cd ${folder.startsWith('..') ? dir : folder} && `
      terminal.note(`next: ${enter}npm install && npm test`)
    }
  },
})

/** What does not make a folder one that is in use. */
const ignored = new Set(['.git', '.DS_Store', '.idea', '.vscode'])

/** Whether there is something in the folder. Throws FAIRLEAD_CLI_INIT when that is in the way. */
function checkFolder(dir: string, isForced: boolean): boolean {
  const stat = statSync(dir, { throwIfNoEntry: false })
  if (stat === undefined) return false
  if (!stat.isDirectory()) throw initRefused(dir, 'it is a file', 'Name a folder')
  const found = readdirSync(dir).filter((name) => !ignored.has(name))
  if (found.length > 0 && !isForced) {
    const rest = found.length === 1 ? '' : ` and ${found.length - 1} more`
    throw initRefused(
      dir,
      `there is "${found[0]}"${rest} in it`,
      'Name an empty folder, or add --force to write beside what is there',
    )
  }
  return found.length > 0
}

/** A folder's name as a DNS label, as far as it makes one. */
function toName(folder: string): string {
  const name = folder
    .toLowerCase()
    .replaceAll(/[^a-z0-9]+/g, '-')
    .replaceAll(/^[^a-z]+|-+$/g, '')
  return name.slice(0, 63).replace(/-+$/, '')
}
