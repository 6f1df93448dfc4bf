import { join } from 'node:path'

import { bundleFailed } from '../errors.ts'
import type { Project } from '../source/project.ts'
import { rolldown } from './rolldown.ts'

const SPECIFIER = '@fairlead/service/launch'

/**
 * The kit's launcher as one file: it reads the limits of the container and becomes the program, with a heap that fits. Bundled on
 * its own, for what it loads comes before the program. Throws `FAIRLEAD_BUILD_BUNDLE` when the service does not have the kit.
 */
export async function bundleLauncher(project: Project): Promise<Buffer> {
  const entry = join(project.dir, '__launcher__.js')
  const build = await rolldown({
    input: { launch: entry },
    cwd: project.dir,
    platform: 'node',
    resolve: { conditionNames: [...project.conditions, 'node'] },
    plugins: [
      {
        name: 'fairlead:launcher',
        resolveId: (id) => (id === entry ? entry : null),
        load: (id) =>
          id === entry
            ? { code: `import { launch } from '${SPECIFIER}'\nlaunch(process.argv.slice(2))`, moduleType: 'js' }
            : null,
        // It is started by the line above, not because it is the program.
        transform: (code) => code.replaceAll('import.meta.main', 'false'),
      },
    ],
    onLog: () => {},
  })
  try {
    const { output } = await build.generate({ format: project.format, codeSplitting: false })
    const [chunk] = output
    if (chunk.imports.includes(SPECIFIER)) throw new Error(`${SPECIFIER} is not installed`)
    return Buffer.from(chunk.code)
  } catch (error) {
    const hint = 'Build without the launcher, or add @fairlead/service to the dependencies'
    throw bundleFailed(project.dir, 'its launcher could not be bundled', hint, error)
  } finally {
    await build.close()
  }
}
