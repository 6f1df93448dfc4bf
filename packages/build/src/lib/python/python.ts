import { createReadStream } from 'node:fs'
import { copyFile, mkdir, readdir, readFile, realpath, rename, rm, stat, writeFile } from 'node:fs/promises'
import { dirname, join } from 'node:path'

import { digestOf, hostPlatform } from '@fairlead/oci'
import { unpackLayer } from '@fairlead/oci/runtime'

import { openApt } from '../base/apt.ts'
import { assembleDebianBase } from '../base/debian.ts'
import type { DebianBase } from '../base/debian.ts'
import { baseUnavailable, pythonUnusable } from '../errors.ts'
import { hashKey } from '../layers/cache.ts'
import type { StoredLayer } from '../layers/cache.ts'
import { writeLayer } from '../layers/layer.ts'
import { folderEntries } from '../program/files.ts'
import type { PlanContext, ProgramPlan } from '../program/program.ts'
import { runCommand } from '../run-command.ts'
import { loadRequirements } from './lock/load.ts'
import type { PythonRequirements } from './lock/load.ts'
import { findStart } from './start.ts'

/** The interpreter and its standard library, as Debian packages them. */
const PACKAGES = ['python3', 'libpython3-stdlib']
const PROGRAMS = /^usr\/bin\/python3(\.\d+)?$/
const SITE = 'opt/site-packages'
const PYTHON = '/usr/bin/python3'
/** Changes whenever the layer made from the same requirements would differ. */
const RECIPE = '1'
/**
 * A Python application: interpreter and standard library out of Debian packages, requirements as wheels for the processor of
 * the image, all bytecode made ahead. Throws `FAIRLEAD_BUILD_PYTHON`.
 */
export async function planPython(context: PlanContext): Promise<ProgramPlan> {
  const { dir, created } = context
  const requirements = await loadRequirements(dir)
  const start = await findStart(dir, requirements.names)
  return {
    base: { isStatic: false, programs: PROGRAMS, packages: PACKAGES },
    async layers(base) {
      const stored = await installed(requirements, base, context)
      const files = await folderEntries(dir, { created })
      return [
        { title: 'externals', stored },
        { title: 'application', entries: files },
      ]
    },
    entrypoint: [PYTHON, ...start.args],
    env: {
      PYTHONPATH: `/app:/${SITE}`,
      PYTHONUNBUFFERED: '1',
      // Servers keep sockets and the like at home, and this folder alone can be written.
      HOME: '/tmp',
      // The root file system is read-only, and what can be compiled is.
      PYTHONDONTWRITEBYTECODE: '1',
    },
    healthcheck: [PYTHON, '-c', `import os,socket;socket.create_connection(('127.0.0.1',int(os.environ['PORT'])),3)`],
  }
}

/** Requirements and bytecode of the standard library, made once for the same requirements and interpreter. */
async function installed(
  { file, render }: PythonRequirements,
  base: DebianBase,
  context: PlanContext,
): Promise<StoredLayer> {
  const { cache, architecture, signal, onStart, dir } = context
  const machine = architecture === 'amd64' ? 'x86_64' : 'aarch64'
  const requirements = render({ pythonVersion: pythonOf(base), machine })
  const key = `python-${hashKey(RECIPE, architecture, base.layer.diffId, requirements)}`
  const known = await cache.read<StoredLayer>(key)
  if (known && (await cache.layers.hasBlob(known.descriptor.digest))) return known
  onStart('install', 'installing the requirements of Python')
  return cache
    .scratch(async (scratch) => {
      const python = await openPython(join(scratch, 'python'), base, context)
      const site = join(scratch, 'site')
      await mkdir(site)
      await install(python, { requirements, site, scratch, context })
      await python.run(
        [
          '-m',
          'compileall',
          '-q',
          '-j',
          '1',
          '--invalidation-mode',
          'unchecked-hash',
          '-s',
          site,
          '-p',
          `/${SITE}`,
          site,
        ],
        {
          // A file that no Python of this version understands, such as a template, is left as it is.
          isFailureAllowed: true,
        },
      )
      const library = join(python.root, 'usr/lib', python.name)
      await python.run(
        [
          '-m',
          'compileall',
          '-q',
          '-j',
          '1',
          '--invalidation-mode',
          'unchecked-hash',
          '-s',
          python.root,
          '-p',
          '/',
          library,
        ],
        {
          isFailureAllowed: true,
        },
      )
      const epoch = new Date(0)
      const own = await folderEntries(site, { created: epoch, target: SITE, withBytecode: true })
      const standard = await folderEntries(library, {
        created: epoch,
        target: `usr/lib/${python.name}`,
        withBytecode: true,
      })
      const bytecode = standard.filter(({ path }) => path.endsWith('.pyc'))
      signal?.throwIfAborted()
      const layer = await writeLayer(cache.layers, [...own, ...bytecode], { level: 6, signal })
      await cache.write(key, layer)
      return layer
    })
    .catch((error: unknown) => {
      signal?.throwIfAborted()
      if ((error as { code?: string }).code !== 'FAIRLEAD_BUILD_COMMAND') throw error
      throw pythonUnusable(
        dir,
        `its requirements of ${file} could not be installed`,
        'Read what pip said; all must be there as wheels for the platform',
        error,
      )
    })
}

/** Version of the interpreter in the base, as its package names it: `3.11.2-1+b1`. */
function pythonOf(base: DebianBase): string {
  const version = base.packages.find(({ name }) => name === 'python3')?.version
  const [line] = /^\d+\.\d+/.exec(version ?? '') ?? []
  if (line === undefined) throw baseUnavailable('debian', 'its python3 has no version')
  return line
}

interface InstallParts {
  requirements: string
  site: string
  scratch: string
  context: PlanContext
}

async function install(python: Python, { requirements, site, scratch, context }: InstallParts): Promise<void> {
  if (requirements.replaceAll(/#.*/g, '').trim() === '') return
  const { architecture, dir } = context
  const machine = architecture === 'amd64' ? 'x86_64' : 'aarch64'
  // Those whose glibc is at most that of the base.
  const tags = [
    'manylinux_2_34',
    'manylinux_2_28',
    'manylinux_2_27',
    'manylinux_2_24',
    'manylinux_2_17',
    'manylinux2014',
    'manylinux_2_12',
    'manylinux2010',
    'manylinux_2_5',
    'manylinux1',
    'linux',
  ]
  const wheel = await pipWheel(context)
  // The name the file has here is where relative names in it begin.
  const file = join(scratch, 'requirements.txt')
  await writeFile(file, requirements)
  await python.run(
    [
      `${wheel}/pip`,
      'install',
      '--quiet',
      '--no-input',
      '--disable-pip-version-check',
      '--no-compile',
      '--only-binary=:all:',
      '--root-user-action=ignore',
      `--target=${site}`,
      '--implementation=cp',
      `--python-version=${python.version}`,
      ...tags.map((tag) => `--platform=${tag}_${machine}`),
      ...(requirements.includes('--hash=') ? ['--require-hashes'] : []),
      '-r',
      file,
    ],
    { cwd: dir },
  )
  await makeEqual(site)
}

/** Scripts name the folder they were installed by, and the lists of files name their digests. */
async function makeEqual(site: string): Promise<void> {
  await rm(join(site, 'bin'), { recursive: true, force: true })
  for (const name of (await readdir(site)).filter((entry) => entry.endsWith('.dist-info'))) {
    const path = join(site, name, 'RECORD')
    const text = await readFile(path, 'utf8').catch(() => undefined)
    if (text === undefined) continue
    const kept = text.split('\n').filter((line) => !/(^|\/)bin\//.test(line.split(',')[0] ?? ''))
    await writeFile(
      path,
      kept
        .filter((line) => line !== '')
        .toSorted()
        .join('\n') + '\n',
    )
  }
}

/** An interpreter that runs here, out of a base. */
interface Python {
  root: string
  /** `python3.11`, which is its folder of libraries too. */
  name: string
  version: string
  run(args: readonly string[], options?: { cwd?: string; isFailureAllowed?: boolean }): Promise<void>
}

/** The interpreter of the image where it is for this processor, else the same one for this processor. */
async function openPython(root: string, base: DebianBase, context: PlanContext): Promise<Python> {
  const { cache, env, signal } = context
  const host = hostPlatform().architecture
  if (process.platform !== 'linux' || (host !== 'amd64' && host !== 'arm64')) {
    throw pythonUnusable(
      context.dir,
      'Python applications are built on Linux only',
      'Build it in CI, or in a Linux machine',
    )
  }
  const own =
    host === context.architecture
      ? base
      : await assembleDebianBase({
          cache,
          architecture: host,
          profile: 'debian',
          programs: PROGRAMS,
          packages: PACKAGES,
          env,
          signal,
        })
  await mkdir(root)
  const { descriptor } = own.layer
  await unpackLayer(createReadStream(cache.layers.blobPath(descriptor.digest)), descriptor.mediaType, root, {
    keepOwners: false,
  })
  const name = (await readdir(join(root, 'usr/bin'))).find((entry) => /^python3\.\d+$/.test(entry))
  if (name === undefined) throw baseUnavailable('debian', 'its python3 has no interpreter')
  const triplet = host === 'amd64' ? 'x86_64-linux-gnu' : 'aarch64-linux-gnu'
  const loaderName = host === 'amd64' ? 'ld-linux-x86-64.so.2' : 'ld-linux-aarch64.so.1'
  const folder = join(root, 'usr/lib', triplet)
  const loader = await realpath(join(folder, loaderName))
  return {
    root,
    name,
    version: name.slice('python'.length),
    async run(args, { cwd, isFailureAllowed } = {}) {
      const running = runCommand(loader, ['--library-path', folder, join(root, 'usr/bin', name), '-B', '-s', ...args], {
        cwd: cwd ?? root,
        signal,
        timeoutMs: 10 * 60_000,
        // Sets are ordered by hash, and bytecode holds sets.
        env: {
          ...Object.fromEntries(Object.entries(env).filter(([variable]) => !variable.startsWith('PYTHON'))),
          PYTHONHOME: join(root, 'usr'),
          PYTHONHASHSEED: '0',
          PYTHONDONTWRITEBYTECODE: '1',
          SOURCE_DATE_EPOCH: '0',
        },
      })
      await running.catch((error: unknown) => {
        if (!isFailureAllowed) throw error
      })
    },
  }
}

/** pip as Debian packages it for virtual environments: one wheel that runs as it is. */
async function pipWheel({ cache, env, signal }: PlanContext): Promise<string> {
  const kept = join(cache.dir, 'python', 'pip.whl')
  if (await stat(kept).catch(() => undefined)) return kept
  return cache.exclusively('python-pip', () =>
    cache.scratch(async (dir) => {
      const host = hostPlatform().architecture === 'arm64' ? 'arm64' : 'amd64'
      const apt = await openApt({ dir, architecture: host, env, signal })
      await apt.update().catch(() => {})
      await apt.download(await apt.show(['python3-pip-whl']), dir)
      const deb = (await readdir(dir)).find((name) => name.endsWith('.deb')) ?? ''
      await runCommand('dpkg-deb', ['--extract', join(dir, deb), join(dir, 'files')], { signal })
      const wheels = join(dir, 'files/usr/share/python-wheels')
      const name = (await readdir(wheels)).find((entry) => entry.startsWith('pip-')) ?? ''
      await mkdir(dirname(kept), { recursive: true })
      const temporary = `${kept}.${digestOf(Buffer.from(dir)).slice(7, 19)}`
      await copyFile(join(wheels, name), temporary)
      await rename(temporary, kept)
      return kept
    }),
  )
}
