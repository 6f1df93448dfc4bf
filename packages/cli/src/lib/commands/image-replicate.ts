import { readFileSync } from 'node:fs'
import { resolve } from 'node:path'
import { openLayout } from '@fairlead/oci/layout'
import { parseReplication, replicateImages } from '@fairlead/oci/registry'
import type { Replicated } from '@fairlead/oci/registry'
import { type Command, defineCommand, jsonOption } from '../command.ts'
import { inputUnreadable, usage } from '../errors.ts'
import { insecureOption, layoutOption, openClient } from '../image/registry.ts'
import { renderSize } from '../terminal/text.ts'

/** `fairlead image replicate` */
export const imageReplicate: Command = defineCommand({
  name: 'image replicate',
  summary: 'copy new images to other registries by rules; shows what would go first',
  description: [
    'The rules are in the JSON of the replication configuration of Amazon ECR, with registries as destinations; see the guide',
    'docs/guides/registry.md. Images go with all their platforms, signatures and SBOMs; what is there already is left out, and nothing',
    'is deleted. Where a tag cannot be changed, the image goes there without it. Exit code 1 when an image failed; the rest goes on.',
  ].join('\n'),
  options: {
    config: { type: 'string', value: 'FILE', help: 'the rules' },
    apply: { type: 'boolean', help: 'copy what is shown' },
    layout: layoutOption,
    insecure: insecureOption,
    json: jsonOption,
  },
  examples: [
    { command: 'fairlead image replicate --config replication.json', text: 'what would go where, and how much' },
    { command: 'fairlead image replicate --config replication.json --apply', text: 'copy it' },
  ],
  async run({ options, homes, env, cwd, terminal, signal }) {
    if (options.config === undefined) {
      throw usage('Cannot replicate without rules', 'Name a file with --config; docs/guides/registry.md shows one')
    }
    const config = parseReplication(readConfig(resolve(cwd, options.config)), options.config)
    const layout = await openLayout(options.layout === undefined ? homes.images : resolve(cwd, options.layout))
    const replicated = await replicateImages(config, {
      layout,
      client: openClient(env, options),
      apply: options.apply,
      signal,
      onStep: ({ from, to }) => {
        if (options.apply) terminal.note(`${from} to ${to}`)
      },
    })
    if (options.json) terminal.printJson(replicated)
    else for (const line of renderReplicated(replicated)) terminal.print(line)
    for (const { place, reason } of replicated.faults) terminal.note(`cannot read ${place}: ${reason}`)
    if (!replicated.isApplied && replicated.images.length > 0) terminal.note('nothing was copied; --apply copies it')
    return replicated.faults.length > 0 || replicated.summary.failed > 0 ? 1 : 0
  },
})

function readConfig(file: string): string {
  try {
    return readFileSync(file, 'utf8')
  } catch (error) {
    throw inputUnreadable(file, (error as Error).message, error)
  }
}

function renderReplicated({ images, summary, isApplied }: Replicated): string[] {
  const lines = images.map(({ from, to, action, outcome, bytes, movedBytes, reason }) => {
    const what = outcome === 'planned' ? action : outcome
    const size = isApplied ? renderSize(movedBytes) : `at most ${renderSize(bytes)}`
    return `${what} ${from} to ${to}: ${reason ?? size}`
  })
  const { copied, untagged, failed, same, bytes, movedBytes } = summary
  const done = isApplied
    ? `${copied} copied, ${untagged} without their tag, ${renderSize(movedBytes)} moved`
    : `${images.length - failed} to copy, at most ${renderSize(bytes)}`
  return [...lines, `${done}; ${same} there already, ${failed} failed`]
}
