import { parseReference, renderReference } from '@fairlead/oci'
import { type Command, defineCommand, jsonOption } from '../command.ts'
import { usage } from '../errors.ts'
import { insecureOption, openClient } from '../image/registry.ts'

/** `fairlead image rm` */
export const imageRm: Command = defineCommand({
  name: 'image rm',
  summary: 'delete an image from a registry',
  description:
    'Deletes the manifest that REFERENCE means there, with all tags that mean it; --untag deletes the tag only, where ' +
    'the registry can. Blobs go when the registry collects its garbage.',
  args: ['REFERENCE'],
  options: {
    untag: { type: 'boolean', help: 'delete the tag and keep the image' },
    insecure: insecureOption,
    json: jsonOption,
  },
  examples: [{ command: 'fairlead image rm registry.example/web:1.3.0', text: 'the image and its tags' }],
  async run({ options, args: [text = ''], env, terminal, signal }) {
    const reference = parseReference(text)
    const { registry, repository, tag, digest } = reference
    if (!tag && !digest) {
      throw usage(
        `Cannot delete "${text}": it names no tag and no digest`,
        'Write which image of the repository is meant',
      )
    }
    const client = openClient(env, options)
    const found = options.untag ? undefined : await client.resolve(reference, signal)
    const target = found ? { registry, repository, digest: found.digest } : { registry, repository, tag }
    await client.delete(target, signal)
    if (options.json) terminal.printJson({ deleted: renderReference(target) })
    else terminal.print(renderReference(target))
  },
})
