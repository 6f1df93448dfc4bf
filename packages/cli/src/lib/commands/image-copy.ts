import { parsePlatform, parseReference } from '@fairlead/oci'
import { copyImage } from '@fairlead/oci/registry'
import { type Command, defineCommand, jsonOption } from '../command.ts'
import { insecureOption, openClient, referrersOption, transfer } from '../image/registry.ts'

/** `fairlead image copy` */
export const imageCopy: Command = defineCommand({
  name: 'image copy',
  summary: 'copy an image from one registry to another',
  description:
    'Nothing is written to the disk. All platforms are copied, unless --platform names one. Within one registry blobs ' +
    'are mounted and not moved.',
  args: ['FROM', 'TO'],
  options: {
    platform: { type: 'string', value: 'OS/ARCH', help: 'only the image for this platform; default: all of them' },
    referrers: referrersOption,
    insecure: insecureOption,
    json: jsonOption,
  },
  examples: [
    {
      command: 'fairlead image copy ghcr.io/acme/web:1.4.0 registry.example/web:1.4.0 --referrers',
      text: 'with signatures',
    },
  ],
  async run({ options, args: [from = '', to = ''], env, terminal, signal }) {
    for (const reference of [from, to]) parseReference(reference)
    if (options.platform !== undefined) parsePlatform(options.platform)
    const client = openClient(env, options)
    const { platform, referrers: withReferrers } = options
    using steps = terminal.steps()
    const copied = await transfer(steps, `copy ${from} to ${to}`, signal, (onProgress) =>
      copyImage(from, to, { client, platform, withReferrers, signal, onProgress }),
    )
    if (options.json) terminal.printJson(copied)
    else terminal.print(copied.pinned)
  },
})
