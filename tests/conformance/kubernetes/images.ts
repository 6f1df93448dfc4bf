import { copyFile, mkdir, rm, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { perform } from './perform.ts'
import { isThere } from './programs.ts'
import type { Programs } from './programs.ts'

/** An image of the suite, made from Debian's packages and from programs of the suite's own source. */
interface Recipe {
  readonly names: readonly string[]
  readonly from: 'debian' | 'busybox' | 'scratch' | 'agnhost'
  /** Source on this machine to place in the image. */
  readonly files?: Readonly<Record<string, string>>
  readonly modes?: Readonly<Record<string, string>>
  readonly run?: string
  readonly config?: readonly string[]
}

/** What the images stand on: programs that upstream's images have, by the names of Debian. */
const debianPackages =
  'bash,bash-static,curl,dnsutils,etcd-server,iperf,iproute2,net-tools,netcat-openbsd,nginx-light,perl,procps,stress'

const nginxConfiguration = `daemon off;
worker_processes 1;
pid /tmp/nginx.pid;
error_log /dev/stderr;
events {}
http {
  include /etc/nginx/mime.types;
  access_log /dev/stdout;
  server { listen 80; listen [::]:80; root /usr/share/nginx/html; index index.html; }
}
`

function listRecipes(programs: Programs, work: string): readonly Recipe[] {
  const images = join(programs.source, 'test/images')
  const picture = (name: string): Record<string, string> => ({
    [`/${name}.jpg`]: join(images, name, 'html', `${name}.jpg`),
    '/data.json': join(images, name, 'html/data.json'),
  })
  const certificates = ['crt', 'key'].map((end) => [
    `/localhost.${end}`,
    join(images, `agnhost/porter/localhost.${end}`),
  ])
  return [
    {
      names: ['e2e-test-images/agnhost:2.63.0', 'e2e-test-images/agnhost:2.55'],
      from: 'debian',
      files: { '/agnhost': programs.agnhost, ...(Object.fromEntries(certificates) as Record<string, string>) },
      run:
        'ln -s agnhost /agnhost-2 && ln -sf bash /bin/sh && mkdir /uploads && useradd -u 1000 user-defined-in-image && ' +
        'groupadd -g 50000 group-defined-in-image && usermod -aG group-defined-in-image user-defined-in-image',
      config: ['--entrypoint', '["/agnhost"]', '--cmd', 'pause'],
    },
    ...['kitten', 'nautilus'].map((name): Recipe => ({
      names: [`e2e-test-images/${name}:1.8`],
      from: 'agnhost',
      files: picture(name),
      // Upstream's base is Alpine, and a spec of image volumes looks for its name in this file.
      run: `rm /etc/os-release && echo 'NAME="Alpine Linux"' > /etc/os-release`,
      config: ['--cmd', 'test-webserver'],
    })),
    {
      names: ['e2e-test-images/busybox:1.37.0-1', 'e2e-test-images/busybox:1.36.1-1'],
      from: 'busybox',
      config: ['--cmd', 'sh'],
    },
    { names: ['e2e-test-images/nonroot:1.5'], from: 'debian', config: ['--user', '1234'] },
    {
      names: ['e2e-test-images/nonewprivs:1.4'],
      from: 'debian',
      files: { '/usr/local/bin/nnp': programs.nonewprivs },
      modes: { '/usr/local/bin/nnp': '4755' },
      config: ['--cmd', 'nnp'],
    },
    { names: ['e2e-test-images/glibc-dns-testing:2.0.0'], from: 'debian', config: ['--cmd', 'sh'] },
    { names: ['e2e-test-images/perl:5.26'], from: 'debian', config: ['--cmd', 'perl'] },
    {
      names: ['e2e-test-images/nginx:1.15-4', 'e2e-test-images/nginx:1.27-0'],
      from: 'debian',
      files: { '/etc/nginx/nginx.conf': join(work, 'nginx.conf') },
      config: ['--entrypoint', '["nginx"]', '--cmd', '', '--port', '80'],
    },
    {
      names: ['e2e-test-images/resource-consumer:1.14'],
      from: 'debian',
      files: { '/consumer': programs.resourceConsumer, '/consume-cpu/consume-cpu': programs.consumeCpu },
      config: ['--entrypoint', '["/consumer"]', '--port', '8080'],
    },
    {
      names: ['e2e-test-images/regression-issue-74839:1.4'],
      from: 'debian',
      files: { '/regression-issue-74839': programs.invalidConntrack },
      config: ['--entrypoint', '["/regression-issue-74839"]'],
    },
    {
      names: ['e2e-test-images/sample-apiserver:1.29.2'],
      from: 'scratch',
      files: { '/sample-apiserver': programs.sampleApiServer },
      config: ['--entrypoint', '["/sample-apiserver"]'],
    },
    {
      names: ['k8s/etcd:3.6.8-0'],
      from: 'debian',
      run: 'ln -s /usr/bin/etcd /usr/local/bin/etcd',
    },
    {
      names: ['k8s/pause:3.10.2'],
      from: 'scratch',
      files: { '/pause': join(work, 'pause') },
      config: ['--entrypoint', '["/pause"]', '--user', '65535:65535'],
    },
  ]
}

/** Assembles the images of the suite with buildah and pushes them into the registry at `registry`. */
export async function pushImages(programs: Programs, work: string, registry: string): Promise<void> {
  await prepareFiles(programs, work)
  const bases: Record<string, string> = {
    scratch: 'scratch',
    debian: await commitBase(work, 'debian'),
    busybox: await commitBase(work, 'busybox'),
  }
  for (const recipe of listRecipes(programs, work)) {
    const image = await buildImage(recipe, bases[recipe.from] ?? '')
    if (recipe.names[0]?.includes('/agnhost:') === true) bases['agnhost'] = image
    for (const name of recipe.names) {
      await perform('buildah', ['push', '-q', '--tls-verify=false', image, `docker://${registry}/${name}`])
    }
  }
}

async function prepareFiles({ source }: Programs, work: string): Promise<void> {
  await writeFile(join(work, 'nginx.conf'), nginxConfiguration)
  const pause = join(work, 'pause')
  const pauseSource = join(source, 'build/pause/linux/pause.c')
  if (!(await isThere(pause))) await perform('gcc', ['-Os', '-static', '-DVERSION=3.10.2', '-o', pause, pauseSource])
  const debian = join(work, 'rootfs-debian')
  if (!(await isThere(join(debian, 'usr/bin/stress')))) {
    await rm(debian, { recursive: true, force: true })
    const include = `--include=${debianPackages}`
    await perform('debootstrap', ['--variant=minbase', include, 'bookworm', debian])
    await mkdir(join(debian, 'usr/share/nginx/html'), { recursive: true })
    const page = '<html><head><title>Welcome to nginx!</title></head><body><h1>Welcome to nginx!</h1></body></html>\n'
    await writeFile(join(debian, 'usr/share/nginx/html/index.html'), page)
    await rm(join(debian, 'var/cache/apt'), { recursive: true })
    await rm(join(debian, 'var/lib/apt/lists'), { recursive: true })
  }
  await layBusybox(join(work, 'rootfs-busybox'), join(debian, 'usr/bin/bash-static'))
}

/** Debian's busybox has a shell that drops variables such as `data-1`, which upstream's passes on: bash takes its place. */
async function layBusybox(root: string, shell: string): Promise<void> {
  await rm(root, { recursive: true, force: true })
  for (const dir of ['bin', 'etc', 'root', 'home', 'usr/bin', 'usr/sbin', 'sbin', 'var', 'dev', 'proc', 'sys']) {
    await mkdir(join(root, dir), { recursive: true })
  }
  await mkdir(join(root, 'tmp'), { mode: 0o1777 })
  await perform('chmod', ['1777', join(root, 'tmp')])
  await copyFile('/bin/busybox', join(root, 'bin/busybox'))
  await perform('chroot', [root, '/bin/busybox', '--install', '-s', '/bin'])
  await rm(join(root, 'bin/sh'))
  await copyFile(shell, join(root, 'bin/sh'))
  const accounts = ['root:x:0:0:root:/root:/bin/sh', 'daemon:x:1:1:daemon:/usr/sbin:/bin/false']
  await writeFile(
    join(root, 'etc/passwd'),
    [...accounts, 'nobody:x:65534:65534:nobody:/home:/bin/false', ''].join('\n'),
  )
  await writeFile(join(root, 'etc/group'), 'root:x:0:\ndaemon:x:1:\nnobody:x:65534:\n')
}

async function commitBase(work: string, name: 'debian' | 'busybox'): Promise<string> {
  const container = await buildah('from', 'scratch')
  await buildah('copy', '-q', container, join(work, `rootfs-${name}`), '/')
  return await commit(container, `localhost/conformance-${name}`)
}

async function buildImage(recipe: Recipe, base: string): Promise<string> {
  const container = await buildah('from', '--pull-never', base)
  for (const [target, source] of Object.entries(recipe.files ?? {})) {
    const mode = recipe.modes?.[target]
    await buildah('copy', '-q', ...(mode === undefined ? [] : ['--chmod', mode]), container, source, target)
  }
  if (recipe.run !== undefined) await buildah('run', '--isolation=chroot', container, '--', 'sh', '-ec', recipe.run)
  if (recipe.config !== undefined) await buildah('config', ...recipe.config, container)
  return await commit(container, `localhost/conformance-${(recipe.names[0] ?? '').replaceAll(/[:/]/g, '-')}`)
}

async function commit(container: string, name: string): Promise<string> {
  await buildah('commit', '-q', '--rm', container, name)
  return name
}

async function buildah(...args: string[]): Promise<string> {
  return (await perform('buildah', args)).stdout.trim()
}
