import { hostPlatform, parsePlatform, parseReference, renderPlatform } from '@fairlead/oci'
import { openLayout } from '@fairlead/oci/layout'
import { pullTree } from '@fairlead/oci/registry'
import { type Command, defineCommand, jsonOption } from '../command.ts'
import { usage } from '../errors.ts'
import {
  allPlatformsOption,
  insecureOption,
  layoutOption,
  openClient,
  referrersOption,
  transfer,
} from '../image/registry.ts'

/** `fairlead image pull` */
export const imagePull: Command = defineCommand({
  name: 'image pull',
  summary: 'pull an image of a registry into the local store',
  description: 'Fetches what the store does not have, checks it against its digests, and gives it its name last.',
  args: ['REFERENCE'],
  options: {
    platform: { type: 'string', value: 'OS/ARCH', help: 'default: linux on the processor of this machine' },
    'all-platforms': allPlatformsOption,
    referrers: referrersOption,
    layout: layoutOption,
    insecure: insecureOption,
    json: jsonOption,
  },
  examples: [
    { command: 'fairlead image pull gcr.io/distroless/nodejs24-debian13', text: 'for this machine' },
    { command: 'fairlead image pull ghcr.io/acme/web:1.4.0 --all-platforms --referrers', text: 'all there is of it' },
  ],
  async run({ options, args: [reference = ''], homes, env, terminal, signal }) {
    parseReference(reference)
    if (options.platform !== undefined && options['all-platforms']) {
      throw usage('Cannot use --platform together with --all-platforms', 'Choose one of them')
    }
    const one = renderPlatform(options.platform === undefined ? hostPlatform() : parsePlatform(options.platform))
    const platform = options['all-platforms'] ? undefined : one
    const layout = await openLayout(options.layout ?? homes.images)
    const client = openClient(env, options)
    using steps = terminal.steps()
    const pulled = await transfer(steps, `pull ${reference}`, signal, (onProgress) =>
      pullTree(reference, { layout, client, platform, withReferrers: options.referrers, signal, onProgress }),
    )
    if (options.json) terminal.printJson({ ...pulled, requests: client.counts.requests })
    else terminal.print(pulled.pinned)
  },
})
