import { existsSync, readFileSync } from 'node:fs'
import { join, resolve } from 'node:path'
import type { LifecyclePolicy } from '@fairlead/oci/registry'
import type { Pruned } from '@fairlead/oci/server'
import { type Command, defineCommand, jsonOption } from '../command.ts'
import { inputUnreadable } from '../errors.ts'
import { renderSize } from '../terminal/text.ts'

/** `fairlead image prune` */
export const imagePrune: Command = defineCommand({
  name: 'image prune',
  summary: 'remove old images by a lifecycle policy; shows what would go first',
  description: [
    'Shows what would be removed from the local image store, or from any OCI layout or registry store; with --apply, removes it and the',
    'content that no image needs any more (a day after its last use). Without a policy, latest and the three images pushed',
    'last stay in each repository, and what is younger than a day. A policy is a lifecycle policy of Amazon ECR or the',
    'retention section of a zot configuration.',
  ].join('\n'),
  args: ['[dir]'],
  options: {
    policy: { type: 'string', value: 'FILE', help: 'a policy in the JSON of ECR or zot' },
    repository: { type: 'string', value: 'GLOB', help: 'only these repositories, such as shop/*' },
    apply: { type: 'boolean', help: 'remove what is shown' },
    json: jsonOption,
  },
  examples: [
    { command: 'fairlead image prune', text: 'what would go, and why' },
    { command: 'fairlead image prune --policy policy.json --repository shop/* --apply', text: 'remove it' },
  ],
  async run({ options, args: [dir], homes, cwd, terminal, signal }) {
    const store = dir === undefined ? homes.images : resolve(cwd, dir)
    if (!existsSync(join(store, 'oci-layout'))) throw inputUnreadable(store, 'it is no OCI layout, so no image store')
    const { openRegistryStore, pruneStore } = await import('@fairlead/oci/server')
    const policy = options.policy === undefined ? undefined : await readPolicy(resolve(cwd, options.policy))
    const pruned = await pruneStore(await openRegistryStore(store), {
      policy,
      repository: options.repository,
      apply: options.apply,
      signal,
    })
    if (options.json) terminal.printJson(pruned)
    else for (const line of renderPruned(pruned)) terminal.print(line)
    for (const warning of pruned.warnings) terminal.note(`warning: ${warning}`)
    if (!pruned.isApplied && pruned.repositories.length > 0) terminal.note('nothing was removed; --apply removes it')
  },
})

async function readPolicy(file: string): Promise<LifecyclePolicy> {
  const { parseLifecyclePolicy } = await import('@fairlead/oci/registry')
  let text: string
  try {
    text = readFileSync(file, 'utf8')
  } catch (error) {
    throw inputUnreadable(file, (error as Error).message, error)
  }
  return parseLifecyclePolicy(text, file)
}

function renderPruned({ repositories, collected, isApplied }: Pruned): string[] {
  const lines = repositories.flatMap(({ repository, actions, summary }) => [
    `${repository}: ${summary.expiring} of ${summary.images} images`,
    ...actions.map(({ digest, tags, action, reason, rule }) => {
      const name = tags.length > 0 ? tags.join(', ') : 'untagged'
      return `  ${action} ${digest.slice(7, 19)} (${name}): ${rule === 0 ? '' : `rule ${rule}, `}${reason}`
    }),
  ])
  if (collected.blobs > 0 || isApplied)
    lines.push(
      `${isApplied ? 'removed' : 'belongs to no image now'}: ${collected.blobs} blobs, ${renderSize(collected.bytes)}`,
    )
  return lines
}
