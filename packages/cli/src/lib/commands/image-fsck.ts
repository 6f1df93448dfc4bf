import { existsSync } from 'node:fs'
import { join, resolve } from 'node:path'
import type { StoreProblem, StoreReport } from '@fairlead/oci/server'
import { type Command, defineCommand, jsonOption } from '../command.ts'
import { inputUnreadable } from '../errors.ts'
import { renderSize } from '../terminal/text.ts'

const progressEveryMs = 1000

/** `fairlead image fsck` */
export const imageFsck: Command = defineCommand({
  name: 'image fsck',
  summary: 'check an image store: every reference and every byte',
  description: [
    'Checks the local image store, or any OCI layout or registry store, also while it is served. Tells of content that is damaged or',
    'missing and of names that mean nothing. What nothing points at is counted, and is no problem: the registry collects it.',
    'With --repair, damaged content is moved to the folder "quarantine" of the store and names that mean nothing are forgotten;',
    'pushing or building an image again brings back what it lacks. Exit codes: 0 intact, 1 problems are left, 2 no such store.',
  ].join('\n'),
  args: ['[dir]'],
  options: {
    repair: { type: 'boolean', help: 'quarantine what is damaged, forget names that mean nothing' },
    quick: { type: 'boolean', help: 'look at presence and sizes, do not read content' },
    json: jsonOption,
  },
  examples: [
    { command: 'fairlead image fsck', text: 'check the local image store' },
    { command: 'fairlead image fsck ./layout --repair --json', text: 'repair a layout, with a report for scripts' },
  ],
  async run({ options, args: [dir], homes, cwd, terminal, signal }) {
    const store = dir === undefined ? homes.images : resolve(cwd, dir)
    if (!existsSync(join(store, 'oci-layout'))) {
      throw inputUnreadable(store, 'it is no OCI layout, so no image store')
    }
    const { checkStore, isIntact, openRegistryStore } = await import('@fairlead/oci/server')
    using steps = terminal.steps()
    const step = steps.start('check')
    let shownAt = Date.now()
    const report = await checkStore(await openRegistryStore(store), {
      repair: options.repair,
      readContent: !options.quick,
      signal,
      onProgress: ({ blobs, bytes }) => {
        if (Date.now() - shownAt < progressEveryMs) return
        shownAt = Date.now()
        step.update(`${blobs} blobs, ${renderSize(bytes)}`)
      },
    }).catch((error: unknown) => {
      step.fail()
      throw error
    })
    const summary = `${report.references} references, ${report.blobs} blobs, ${renderSize(report.bytes)}`
    if (report.problems.length === 0) step.done(summary)
    else step.fail(`${report.problems.length} problems in ${summary}`)
    if (options.json) terminal.printJson({ isIntact: isIntact(report), ...report })
    else for (const line of renderReport(report)) terminal.print(line)
    return isIntact(report) ? 0 : 1
  },
})

function renderReport(report: StoreReport): string[] {
  const lines = report.problems.map(renderProblem)
  if (report.orphans.length > 0) {
    lines.push(
      `${report.orphans.length} blobs (${renderSize(report.orphanBytes)}) belong to no image; the registry collects them`,
    )
  }
  if (report.quarantine !== undefined) lines.push(`what was taken away is in ${report.quarantine}`)
  return lines
}

function renderProblem({ kind, digest, names, repaired }: StoreProblem): string {
  const concerned = names.length === 0 ? 'no image' : names.join(', ')
  return `${kind} ${digest}: ${concerned}${repaired === undefined ? '' : `; ${repaired}`}`
}
