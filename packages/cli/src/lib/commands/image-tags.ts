import { parseReference, renderReference } from '@fairlead/oci'
import { type Command, defineCommand, jsonOption } from '../command.ts'
import { insecureOption, openClient } from '../image/registry.ts'

/** `fairlead image tags` */
export const imageTags: Command = defineCommand({
  name: 'image tags',
  summary: 'list the tags of a repository in a registry',
  args: ['REPOSITORY'],
  options: { insecure: insecureOption, json: jsonOption },
  examples: [{ command: 'fairlead image tags ghcr.io/acme/web', text: 'one per line' }],
  async run({ options, args: [text = ''], env, terminal, signal }) {
    const { registry, repository } = parseReference(text)
    const tags = await openClient(env, options).listTags({ registry, repository }, signal)
    if (options.json) {
      const name = renderReference({ registry, repository, tag: 'x' }).slice(0, -2)
      terminal.printJson({ repository: name, tags })
    } else for (const tag of tags) terminal.print(tag)
  },
})
