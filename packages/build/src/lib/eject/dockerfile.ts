import { closing, exec, identity, mounts, renderHeader } from './dockerfile-lines.ts'
import type { DockerfileText } from './dockerfile-lines.ts'
import type { NodePlan, PlannedHealth } from './plan.ts'

/** The images for a version of Node.js: one with its package managers and a shell, one with nothing but the program. */
export function nodeImages(nodeVersion: string): { build: string; runtime: string } {
  const [major] = nodeVersion.split('.')
  return {
    build: `docker.io/library/node:${nodeVersion}-trixie-slim`,
    runtime: `gcr.io/distroless/nodejs${major}-debian13:nonroot`,
  }
}

/**
 * A Dockerfile in stages: dependencies first, so that they are installed again only when the lock file changes; then the build,
 * if there is one; at last an image without a package manager, a shell and root.
 */
export function renderNodeDockerfile(plan: NodePlan, { path, images }: DockerfileText<'build' | 'runtime'>): string {
  const home = plan.workspace === '' ? '/app' : `/app/${plan.workspace}`
  return `${[
    renderHeader(plan, path, NPM),
    [`ARG BUILD_IMAGE=${images.build}`, `ARG RUNTIME_IMAGE=${images.runtime}`].join('\n'),
    [
      '# Alone in its stage: done again only when one of these files changes.',
      'FROM ${BUILD_IMAGE} AS dependencies',
      'WORKDIR /app',
      ...installManager(plan),
      ...copyManifests(plan),
      install(plan, 'production'),
      // COPY fails for a folder that is not there, and a package manager may well have nothing to put into it.
      ...plan.nestedModules.map((folder) => `RUN mkdir -p ${folder}/node_modules`),
    ].join('\n'),
    ...(plan.hasBuild ? [renderBuildStage(plan, home)] : []),
    [
      'FROM ${RUNTIME_IMAGE}',
      `ENV NODE_ENV=production \\\n    PORT=${plan.port}`,
      'WORKDIR /app',
      'COPY --from=dependencies /app/node_modules ./node_modules',
      ...plan.nestedModules.map(
        (folder) => `COPY --from=dependencies /app/${folder}/node_modules ./${folder}/node_modules`,
      ),
      ...copyProgram(plan),
      ...(plan.workspace === '' ? [] : [`WORKDIR ${home}`]),
      // Below what is copied: another version is no reason to copy it again.
      ...identity(plan),
      ...closing(plan, nodeProbe(plan.health)),
      `ENTRYPOINT ${exec(['/nodejs/bin/node', ...plan.args])}`,
    ].join('\n'),
  ].join('\n\n')}\n`
}

/** The command that asks the service in a container. */
export function nodeProbe(health: PlannedHealth): string[] {
  return ['/nodejs/bin/node', '-e', healthScript(health)]
}

/** A program for `node -e` that ends with 0 when the service is well. */
function healthScript(health: PlannedHealth): string {
  if (health.kind === 'http') {
    return `fetch('http://127.0.0.1:' + process.env.PORT + '${health.path}').then((answer) => process.exit(answer.ok ? 0 : 1), () => process.exit(1))`
  }
  return `require('node:net').connect(process.env.PORT, '127.0.0.1').on('connect', () => process.exit(0)).on('error', () => process.exit(1))`
}

const NPM = { id: 'npmrc', file: '.npmrc', target: '/root/.npmrc' }
const CACHES = {
  npm: '/root/.npm',
  pnpm: '/root/.local/share/pnpm/store',
  yarn: '/root/.yarn-cache',
}

function installManager({ managerPackage }: NodePlan): string[] {
  if (managerPackage === undefined) return []
  return [`${mounts('/root/.npm', NPM)}    npm install --global --no-audit --no-fund ${managerPackage}`]
}

/** One COPY per folder: files of different folders would all land in one. */
function copyManifests({ manifests }: NodePlan): string[] {
  const folders = Map.groupBy(manifests, (path) => (path.includes('/') ? path.slice(0, path.lastIndexOf('/')) : ''))
  return [...folders].map(([folder, paths]) => {
    // A folder, such as .yarn/releases, is copied by its content.
    if (paths.length === 1 && paths[0]?.startsWith('.yarn/')) return `COPY ${paths[0]} ./${paths[0]}/`
    return `COPY ${paths.join(' ')} ./${folder === '' ? '' : `${folder}/`}`
  })
}

function install(plan: NodePlan, scope: 'production' | 'all'): string {
  return `${mounts(CACHES[plan.manager], NPM)}    ${installCommand(plan, scope)}`
}

function installCommand({ manager, managerPackage, workspace }: NodePlan, scope: 'production' | 'all'): string {
  const isProduction = scope === 'production'
  if (manager === 'npm') {
    const only = workspace === '' ? '' : ` --workspace ${workspace}`
    return `npm ci${isProduction ? ' --omit=dev' : ''}${isProduction ? only : ''} --no-audit --no-fund`
  }
  if (manager === 'pnpm') {
    const only = workspace === '' || !isProduction ? '' : ` --filter ./${workspace}...`
    return `pnpm install --frozen-lockfile${isProduction ? ' --prod' : ''}${only}`
  }
  if (managerPackage?.startsWith('yarn@')) {
    return `YARN_CACHE_FOLDER=${CACHES.yarn} yarn install --frozen-lockfile --non-interactive${isProduction ? ' --production' : ''}`
  }
  const command = isProduction ? 'yarn workspaces focus --all --production' : 'yarn install --immutable'
  return `YARN_CACHE_FOLDER=${CACHES.yarn} ${command}`
}

function renderBuildStage(plan: NodePlan, home: string): string {
  return [
    'FROM ${BUILD_IMAGE} AS build',
    'WORKDIR /app',
    ...installManager(plan),
    ...copyManifests(plan),
    install(plan, 'all'),
    'COPY . .',
    ...(plan.workspace === '' ? [] : [`WORKDIR ${home}`]),
    // Without an own output folder the whole folder is taken over: not with what was installed for the build alone.
    `RUN ${plan.manager} run build${plan.outputDir === undefined ? ' && rm -rf node_modules' : ''}`,
  ].join('\n')
}

const CONVENTIONAL = '# Folders read at run time, such as public or views, belong here too: COPY public ./public'

function copyProgram(plan: NodePlan): string[] {
  const at = plan.workspace === '' ? '' : `${plan.workspace}/`
  const workspaces = plan.workspaces.map((folder) => `COPY ${folder} ./${folder}`)
  if (!plan.hasBuild)
    return [...workspaces, plan.workspace === '' ? 'COPY . .' : `COPY ${plan.workspace} ./${plan.workspace}`]
  const from = (name: string): string => `COPY --from=build /app/${at}${name} ./${at}${name}`
  // Workspaces may have been built as well.
  const built = plan.workspaces.map((folder) => `COPY --from=build /app/${folder} ./${folder}`)
  if (plan.outputDir !== undefined) return [...built, from('package.json'), from(plan.outputDir), CONVENTIONAL]
  return [...built, `COPY --from=build /app/${at || '.'} ./${at}`]
}
