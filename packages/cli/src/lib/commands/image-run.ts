import { join } from 'node:path'
import { runImage } from '@fairlead/oci/runtime'
import type { ResolvedImage } from '@fairlead/oci/layout'
import { type Command, defineCommand } from '../command.ts'
import { usage } from '../errors.ts'
import { findImage } from '../image/local.ts'

/** `fairlead image run` */
export const imageRun: Command = defineCommand({
  name: 'image run',
  summary: 'run an image in the foreground',
  description: [
    'Runs an image of this machine in a container and passes its output and exit code on. The container is on the network',
    'of the machine: what it listens at, the machine listens at. It has no capabilities, and is gone when it ends; Ctrl-C',
    'ends it. Needs Linux, root, and runc or crun. What follows -- replaces the arguments of the image.',
  ].join('\n'),
  args: ['REFERENCE', '[-- args...]'],
  options: {
    env: { type: 'list', short: 'e', value: 'NAME[=VALUE]', help: 'an environment variable; repeat it for more' },
    entrypoint: { type: 'string', value: 'PROGRAM', help: 'the program to run instead of that of the image' },
    user: { type: 'string', value: 'USER[:GROUP]', help: 'names or numbers; default: as the image says' },
    volume: { type: 'list', value: 'DIR:PATH[:ro]', help: 'a folder of this machine inside; repeat it for more' },
    capability: { type: 'list', value: 'NAME', help: 'a capability such as CAP_NET_BIND_SERVICE; repeat it for more' },
    'read-only': { type: 'boolean', help: 'no file can be written but below /tmp' },
    platform: {
      type: 'string',
      value: 'OS/ARCH',
      help: 'which image of an index; default: the one for this processor',
    },
  },
  examples: [
    { command: 'fairlead image run localhost/shop/web:latest -e CATALOG_URL=http://127.0.0.1:3000', text: 'a service' },
    {
      command: 'fairlead image run localhost/shop/web:latest --entrypoint /nodejs/bin/node -- -p process.version',
      text: 'another program of the same image',
    },
  ],
  async run({ options, args: [reference = '', ...args], homes, env, terminal, signal }) {
    const given = toEnv(options.env, env)
    const mounts = options.volume.map(toMount)
    const { layout, image } = await findImage(homes, reference, options.platform)
    const readOnly = options['read-only']
    const ports = Object.keys(image.config.config?.ExposedPorts ?? {})
    if (ports.length > 0) terminal.note(`on the network of this machine; the image names port ${portOf(image, given)}`)
    const exitCode = await runImage(image, {
      dir: join(homes.home, 'run'),
      layersDir: join(homes.home, 'layers'),
      layout,
      command: options.entrypoint === undefined ? undefined : [options.entrypoint],
      args,
      env: given,
      user: options.user,
      mounts: readOnly
        ? [...mounts, { destination: '/tmp', source: 'tmpfs', type: 'tmpfs', options: ['mode=1777'] }]
        : mounts,
      security: { capabilities: options.capability.map((name) => name.toUpperCase()), readOnlyRoot: readOnly },
      terminal: process.stdin.isTTY && process.stdout.isTTY,
      signal,
    })
    signal.throwIfAborted()
    return exitCode
  },
})

function portOf({ config }: ResolvedImage, env: Readonly<Record<string, string>>): string {
  const [first = ''] = Object.keys(config.config?.ExposedPorts ?? {})
  return env['PORT'] ?? first.replace(/\/.*/, '')
}

/** `NAME=VALUE`, or `NAME` alone for the value it has here. */
function toEnv(given: readonly string[], env: NodeJS.ProcessEnv): Record<string, string> {
  const entries = given.map((text): [string, string] => {
    const at = text.indexOf('=')
    if (at === 0) throw usage(`Cannot use "--env ${text}": it has no name`, 'Write NAME=VALUE')
    return at === -1 ? [text, env[text] ?? ''] : [text.slice(0, at), text.slice(at + 1)]
  })
  return Object.fromEntries(entries)
}

function toMount(text: string): { source: string; destination: string; readOnly: boolean } {
  const [source = '', destination = '', mode = 'rw'] = text.split(':')
  if (source.startsWith('/') && destination.startsWith('/') && /^(ro|rw)$/.test(mode)) {
    return { source, destination, readOnly: mode === 'ro' }
  }
  throw usage(`Cannot use "--volume ${text}": expected two absolute paths`, 'Write DIR:PATH or DIR:PATH:ro')
}
