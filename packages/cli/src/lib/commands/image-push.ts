import { parsePlatform, parseReference } from '@fairlead/oci'
import { openLayout } from '@fairlead/oci/layout'
import { pushImage } from '@fairlead/oci/registry'
import { type Command, defineCommand, jsonOption } from '../command.ts'
import { insecureOption, layoutOption, openClient, referrersOption, transfer } from '../image/registry.ts'

/** `fairlead image push` */
export const imagePush: Command = defineCommand({
  name: 'image push',
  summary: 'push an image of the local store to a registry',
  description:
    'Sends what the registry does not have, and the tag last. An image for several platforms is pushed as a whole. ' +
    'Without TARGET the image goes where its name says.',
  args: ['REFERENCE', '[TARGET]'],
  options: {
    platform: { type: 'string', value: 'OS/ARCH', help: 'only the image for this platform; default: all of them' },
    referrers: referrersOption,
    layout: layoutOption,
    insecure: insecureOption,
    json: jsonOption,
  },
  examples: [
    { command: 'fairlead image push localhost/shop/web:latest ghcr.io/acme/web:1.4.0', text: 'under a name there' },
    { command: 'fairlead image push ghcr.io/acme/web:1.4.0 --referrers --json', text: 'with its signatures' },
  ],
  async run({ options, args: [reference = '', target = reference], homes, env, terminal, signal }) {
    parseReference(target)
    if (options.platform !== undefined) parsePlatform(options.platform)
    const layout = await openLayout(options.layout ?? homes.images)
    const client = openClient(env, options)
    const { platform, referrers: withReferrers } = options
    using steps = terminal.steps()
    const pushed = await transfer(steps, `push ${target}`, signal, (onProgress) =>
      pushImage(reference, target, { layout, client, platform, withReferrers, signal, onProgress }),
    )
    if (options.json) terminal.printJson(pushed)
    else terminal.print(pushed.pinned)
  },
})
