import { closing, exec, identity, mounts, renderHeader } from './dockerfile-lines.ts'
import type { DockerfileText } from './dockerfile-lines.ts'
import type { PlannedHealth } from './plan.ts'
import type { PythonPlan } from './python-plan.ts'

const PIP = { id: 'pipconf', file: '.config/pip/pip.conf', target: '/etc/pip.conf' }
const CACHE = '/root/.cache/pip'
const VENV = '/opt/venv'
const PYTHON = `${VENV}/bin/python`

/** What writes the lock files of others out as requirements, in versions that were looked at. */
const EXPORTERS: Readonly<Record<string, { packages: string; command: string }>> = {
  'uv.lock': {
    packages: 'uv==0.9.7',
    command: 'uv export --quiet --frozen --no-dev --no-emit-project --output-file requirements.lock',
  },
  'poetry.lock': {
    packages: 'poetry==2.2.1 poetry-plugin-export==1.9.0',
    command: 'poetry export --only main --output requirements.lock',
  },
}

/** The image for a version of Python: below the build and below the program, for a virtual environment names its interpreter. */
export function pythonImages({ pythonVersion }: PythonPlan): { build: string; runtime: string } {
  const image = `docker.io/library/python:${pythonVersion}-slim-trixie`
  return { build: image, runtime: image }
}

/**
 * A Dockerfile in two stages: a virtual environment with the locked dependencies, made again only when they change; then the
 * same Python without pip's leftovers, the environment and the source.
 */
export function renderPythonDockerfile(
  plan: PythonPlan,
  { path, images }: DockerfileText<'build' | 'runtime'>,
): string {
  return `${[
    renderHeader(plan, path, PIP),
    [`ARG BUILD_IMAGE=${images.build}`, `ARG RUNTIME_IMAGE=${images.runtime}`].join('\n'),
    [
      '# Alone in its stage: done again only when one of these files changes.',
      'FROM ${BUILD_IMAGE} AS dependencies',
      'WORKDIR /build',
      ...installDependencies(plan),
    ].join('\n'),
    [
      'FROM ${RUNTIME_IMAGE}',
      // What can be compiled is, and the root file system may be read-only.
      `ENV PYTHONUNBUFFERED=1 \\\n    PYTHONDONTWRITEBYTECODE=1 \\\n    HOME=/tmp \\\n    PORT=${plan.port}`,
      'WORKDIR /app',
      `COPY --from=dependencies ${VENV} ${VENV}`,
      'COPY . .',
      ...identity(plan),
      ...closing(plan, pythonProbe(plan.health)),
      `ENTRYPOINT ${exec([PYTHON, ...plan.args])}`,
    ].join('\n'),
  ].join('\n\n')}\n`
}

/** The command that asks the application in a container. */
export function pythonProbe(health: PlannedHealth): string[] {
  const port = `int(os.environ['PORT'])`
  if (health.kind !== 'http') {
    return [PYTHON, '-c', `import os,socket;socket.create_connection(('127.0.0.1',${port}),3)`]
  }
  const ask = `c=http.client.HTTPConnection('127.0.0.1',${port},timeout=3);c.request('GET','${health.path}')`
  return [PYTHON, '-c', `import http.client,os,sys;${ask};sys.exit(c.getresponse().status>=400)`]
}

/** Wheels alone, as in the image of "fairlead build": the image below has no compiler. */
function installDependencies({ manifests, hasHashes }: PythonPlan): string[] {
  const [file] = manifests
  const exporter = EXPORTERS[file]
  const isHashed = exporter !== undefined || hasHashes
  const requirements = exporter === undefined ? file : 'requirements.lock'
  const install = `pip --python ${PYTHON} install --only-binary=:all:${isHashed ? ' --require-hashes' : ''}`
  return [
    `RUN python -m venv --without-pip ${VENV}`,
    ...(exporter === undefined
      ? []
      : [`${mounts(CACHE, PIP)}    pip install --root-user-action=ignore ${exporter.packages}`]),
    ...copyManifests(manifests),
    ...(exporter === undefined ? [] : [`RUN ${exporter.command}`]),
    `${mounts(CACHE, PIP)}    ${install} --requirement ${requirements}`,
  ]
}

/** One COPY per folder: files of different folders would all land in one. */
function copyManifests(manifests: readonly string[]): string[] {
  const folders = Map.groupBy(manifests, (path) => (path.includes('/') ? path.slice(0, path.lastIndexOf('/')) : ''))
  return [...folders].map(([folder, paths]) => `COPY ${paths.join(' ')} ./${folder === '' ? '' : `${folder}/`}`)
}
