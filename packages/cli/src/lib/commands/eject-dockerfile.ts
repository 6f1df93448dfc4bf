import { relative, resolve } from 'node:path'
import { loadApp } from '@fairlead/delivery/app'
import { type Command, defineCommand, jsonOption } from '../command.ts'
import { ejectServices, noteUnpinned } from '../eject/services.ts'

/** `fairlead eject dockerfile` */
export const ejectDockerfile: Command = defineCommand({
  name: 'eject dockerfile',
  summary: 'write a Dockerfile and .dockerignore for each service',
  description: [
    'For those who want to go on with Docker, podman or buildah. The Dockerfile has stages: dependencies, which are',
    'installed again only when the lock file changes, the build, and an image without shell and root. A file that is there',
    'and differs is refused, unless --force.',
  ].join('\n'),
  args: ['[dir]'],
  options: {
    output: { type: 'string', value: 'DIR', help: 'write there; default: beside the source of each service' },
    force: { type: 'boolean', help: 'replace files that are there' },
    json: jsonOption,
  },
  examples: [
    { command: 'fairlead eject dockerfile', text: 'for the app in this folder' },
    { command: 'fairlead eject dockerfile examples/shop --output deploy', text: 'into deploy/<service>' },
  ],
  async run({ options, args: [dir = '.'], env, cwd, terminal, signal }) {
    const { writeEjected } = await import('@fairlead/build/eject')
    const app = await loadApp(resolve(cwd, dir), { signal })
    const outputDir = options.output === undefined ? undefined : resolve(cwd, options.output)
    const services = await ejectServices(app, { outputDir, env, signal })
    const files = services.flatMap(({ ejected }) => ejected.files)
    const written = await writeEjected(files, { isForced: options.force })
    noteUnpinned(services, terminal)
    if (options.json) {
      const listed = services.map(({ service, ejected: { contextDir, dockerfile, unpinned } }) => ({
        name: service.name,
        contextDir,
        dockerfile,
        unpinned,
      }))
      terminal.printJson({ app: app.name, services: listed, files: files.map(({ path }) => path), written })
      return
    }
    for (const { path } of files)
      terminal.print(`${relative(cwd, path)}${written.includes(path) ? '' : ' (unchanged)'}`)
    for (const { service, ejected } of services) {
      const file = relative(cwd, ejected.dockerfile)
      const context = relative(cwd, ejected.contextDir) || '.'
      terminal.note(`next: docker build --file ${file} --tag ${app.name}/${service.name} ${context}`)
    }
  },
})
