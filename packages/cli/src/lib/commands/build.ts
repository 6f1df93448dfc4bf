import { resolve } from 'node:path'
import { loadApp } from '@fairlead/delivery/app'
import { type Command, defineCommand, jsonOption } from '../command.ts'
import { prepareHomes } from '../homes.ts'
import { parseOutputs, writeOutput } from '../image/output.ts'
import type { WrittenOutput } from '../image/output.ts'
import type { pushBuilt as PushBuilt } from '../image/registry.ts'
import { buildServices, checkBase, describeBases } from '../up/build-services.ts'

/** `fairlead build` */
export const build: Command = defineCommand({
  name: 'build',
  summary: 'build the images of an app',
  description:
    'Builds one OCI image per service into the local image store, without Docker. What did not change is reused.',
  args: ['[dir]'],
  options: {
    platform: {
      type: 'string',
      value: 'OS/ARCH[,...]',
      help: 'linux/amd64, linux/arm64, or both with a comma; default: this machine',
    },
    base: { type: 'string', value: 'BASE', help: 'auto (default), debian, scratch or an image reference' },
    package: { type: 'list', value: 'NAME', help: 'a Debian package to add to the base, with what it needs' },
    'refresh-base': { type: 'boolean', help: 'assemble or resolve the base anew, for its fixes' },
    node: { type: 'string', value: 'VERSION', help: 'version of Node.js in the images' },
    'source-maps': { type: 'boolean', help: 'source maps in the images: stack traces name lines of the source' },
    'debug-symbols': { type: 'boolean', help: 'keep the symbols of Node.js, for native debuggers' },
    'no-compile-cache': { type: 'boolean', help: 'no compiled code in the images: the same on every machine' },
    'no-launcher': { type: 'boolean', help: 'start services of the kit with the sizes Node.js has by itself' },
    'smoke-test': { type: 'boolean', help: 'start each service alone for 3 s, and fail when it ends with an error' },
    output: {
      type: 'list',
      value: 'oci:DIR|archive:FILE|sea:FILE|registry:HOST[/PATH]',
      help: 'write the images to an OCI layout or archive, the service as one executable, or push; may be repeated',
    },
    push: { type: 'string', value: 'REGISTRY[/PATH]', help: 'push the images there, such as ghcr.io/acme' },
    json: jsonOption,
  },
  examples: [
    { command: 'fairlead build', text: 'the app in this folder' },
    { command: 'fairlead build examples/shop --json', text: 'with digests and layers, for scripts' },
    { command: 'fairlead build --platform linux/amd64,linux/arm64', text: 'one image for both processors' },
    { command: 'fairlead build --output archive:shop.tar', text: 'one file that podman load and skopeo read' },
    { command: 'fairlead build --output sea:./web', text: 'one executable with Node.js inside, for a single service' },
    { command: 'fairlead build --push ghcr.io/acme', text: 'to ghcr.io/acme/APP/SERVICE, only what is not there' },
  ],
  async run({ options, args: [dir = '.'], homes, env, cwd, terminal, signal }) {
    const { platform, base } = options
    const outputs = parseOutputs(options.output, options.push)
    checkBase(base)
    prepareHomes(homes)
    const app = await loadApp(resolve(cwd, dir), { signal })
    using steps = terminal.steps()
    const news = {
      refreshBase: options['refresh-base'],
      nodeVersion: options.node,
      packages: options.package,
      sourceMaps: options['source-maps'],
      debugSymbols: options['debug-symbols'],
      compileCache: !options['no-compile-cache'],
      smokeTest: options['smoke-test'],
      launcher: options['no-launcher'] ? false : undefined,
    }
    const built = await buildServices(app, { homes, steps, platform, base, ...news, env, signal })
    for (const warning of built.flatMap(({ warnings }) => warnings)) terminal.note(warning)
    for (const line of describeBases(built)) terminal.note(line)
    const references = built.map(({ image }) => image.reference)
    const written: WrittenOutput[] = []
    for (const output of outputs)
      if ('path' in output)
        written.push(...(await writeOutput(output, built, { app: app.name, homes, cwd, steps, env, signal })))
    const push = outputs.find((output) => output.kind === 'registry')
    const pushed = push === undefined ? [] : await pushAll(references, push.to, { homes, steps, env, signal })
    if (options.json) {
      const images = built.map(({ service, image }, index) => ({
        name: service,
        ...image,
        ...(pushed[index] ? { pushed: pushed[index] } : {}),
      }))
      terminal.printJson({
        app: app.name,
        store: homes.images,
        images,
        ...(written.length > 0 ? { outputs: written } : {}),
      })
      return
    }
    for (const [index, reference] of references.entries()) terminal.print(pushed[index]?.pinned ?? reference)
    for (const { path } of written) terminal.print(path)
  },
})

/** Loaded when it is needed: a build without a push must not wait for what speaks to registries. */
async function pushAll(...given: Parameters<typeof PushBuilt>): ReturnType<typeof PushBuilt> {
  const { pushBuilt } = await import('../image/registry.ts')
  return pushBuilt(...given)
}
