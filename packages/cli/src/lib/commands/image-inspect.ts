import { defineCommand, jsonOption } from '../command.ts'
import type { Command } from '../command.ts'
import { findImage, platformOption } from '../image/local.ts'
import type { Terminal } from '../terminal/terminal.ts'
import { renderSize } from '../terminal/text.ts'

/** `fairlead image inspect` */
export const imageInspect: Command = defineCommand({
  name: 'image inspect',
  summary: 'show what an image is and how it runs',
  args: ['REFERENCE'],
  options: { platform: platformOption, json: jsonOption },
  examples: [
    { command: 'fairlead image inspect localhost/shop-web:latest', text: 'digest, user, command, environment, labels' },
    {
      command: 'fairlead image inspect localhost/shop-web:latest --json',
      text: 'manifest and configuration as stored',
    },
  ],
  async run({ options, args: [reference = ''], homes, terminal }) {
    const { image, layout } = await findImage(homes, reference, options.platform)
    const { descriptor, manifest, config } = image
    const referrers = await layout.referrers(descriptor.digest)
    if (options.json) {
      terminal.printJson({ reference, descriptor, manifest, config, referrers })
      return
    }
    const run = config.config ?? {}
    const sizeBytes = manifest.layers.reduce((sum, { size }) => sum + size, 0)
    const facts: readonly (readonly [string, string | undefined])[] = [
      ['Reference', reference],
      ['Digest', descriptor.digest],
      ['Platform', `${config.os}/${config.architecture}`],
      ['Created', config.created],
      ['Size', `${renderSize(sizeBytes)} in ${manifest.layers.length} layers`],
      ['User', run.User ?? 'root'],
      ['Directory', run.WorkingDir],
      ['Command', [...(run.Entrypoint ?? []), ...(run.Cmd ?? [])].join(' ')],
      ['Ports', Object.keys(run.ExposedPorts ?? {}).join(', ')],
      ['Stop signal', run.StopSignal],
    ]
    for (const [name, value] of facts) if (value) terminal.print(`${`${name}:`.padEnd(13)}${value}`)
    printList(terminal, 'Environment', run.Env ?? [])
    printList(
      terminal,
      'Labels',
      Object.entries({ ...manifest.annotations, ...run.Labels }).map(([name, value]) => `${name}=${value}`),
    )
    printList(
      terminal,
      'Referrers',
      referrers.map(({ digest, artifactType = 'unknown' }) => `${artifactType} ${digest}`),
    )
  },
})

function printList(terminal: Terminal, title: string, lines: readonly string[]): void {
  if (lines.length > 0) terminal.print([`${title}:`, ...lines.map((line) => `  ${line}`)].join('\n'))
}
