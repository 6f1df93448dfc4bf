import { resolve } from 'node:path'
import type { OutdatedItem } from '@fairlead/build/outdated'
import { loadApp } from '@fairlead/delivery/app'
import { type Command, defineCommand, jsonOption } from '../command.ts'
import { prepareHomes } from '../homes.ts'
import { parseChoice } from '../parse-command.ts'
import { renderTable } from '../terminal/text.ts'

/** `fairlead outdated` */
export const outdated: Command = defineCommand({
  name: 'outdated',
  summary: 'tell whether base, Node.js or dependencies of an app have newer versions or fixes',
  description: [
    'Compares the Debian packages of the base with the signed indexes of apt (or the tag of a base image with its digest), Node.js',
    'with the newest of its line, and dependencies with the npm registry, each through the configuration of this machine. What',
    'could not be asked is said. SECURITY marks what mends a known vulnerability or gets no more fixes. Each line has the command',
    'that updates and builds anew.',
  ].join('\n'),
  args: ['[dir]'],
  options: {
    'fail-on': {
      type: 'string',
      value: 'WHAT',
      help: 'exit code 1 for security fixes (security) or for anything newer (any)',
    },
    offline: { type: 'boolean', help: 'ask nobody: only what the advisories and dates of this machine tell' },
    json: jsonOption,
  },
  examples: [
    { command: 'fairlead outdated', text: 'the app in this folder' },
    { command: 'fairlead outdated --fail-on security --json', text: 'once a day in CI' },
  ],
  async run({ options, args: [dir = '.'], homes, cwd, env, terminal, signal }) {
    const failOn = parseChoice('fail-on', options['fail-on'], ['security', 'any'])
    prepareHomes(homes)
    const app = await loadApp(resolve(cwd, dir), { signal })
    const { checkOutdated } = await import('@fairlead/build/outdated')
    const { builtImage, databasePath } = await import('../scan/subjects.ts')
    using steps = terminal.steps()
    const reports = []
    for (const service of app.services) {
      const step = steps.start(service.name)
      const image = await builtImage(app.name, service, { homes, cwd, platform: undefined, signal })
      const report = await checkOutdated({
        dir: service.dir,
        image,
        database: databasePath(homes),
        offline: options.offline,
        env,
        signal,
      })
      step.done(`${report.items.length} newer, ${report.checked} checked`)
      reports.push({ service: service.name, ...report })
    }
    const items = reports.flatMap((report) => report.items)
    if (options.json) terminal.printJson({ app: app.name, services: reports })
    else {
      if (items.length > 0) terminal.print(renderItems(reports))
      else terminal.print('nothing newer among what was checked')
      for (const { service, notChecked } of reports)
        for (const sentence of notChecked) terminal.note(`${service}: not checked: ${sentence}`)
    }
    if (failOn === undefined) return 0
    return items.some(({ isSecurity }) => failOn === 'any' || isSecurity) ? 1 : 0
  },
})

function renderItems(reports: readonly { service: string; items: readonly OutdatedItem[] }[]): string {
  const rows = reports.flatMap(({ service, items }) =>
    items.map(({ name, current, wanted, latest, isSecurity, notes, command }) => [
      service,
      name,
      current.slice(0, 24),
      (wanted ?? '-').slice(0, 24),
      (latest ?? '-').slice(0, 24),
      isSecurity ? 'yes' : '-',
      command,
      notes.join('; ').slice(0, 100),
    ]),
  )
  return renderTable(['SERVICE', 'NAME', 'CURRENT', 'WANTED', 'LATEST', 'SECURITY', 'COMMAND', 'NOTES'], rows)
}
