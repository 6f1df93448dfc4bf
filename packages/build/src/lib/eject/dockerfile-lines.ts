import type { PlannedHealth } from './plan.ts'

/** How Docker is called, and with which images: `Names` of the images a Dockerfile starts from, with their digests where known. */
export interface DockerfileText<Names extends string> {
  /** Path of the Dockerfile below the build context. */
  path: string
  images: Readonly<Record<Names, string>>
}

/** A file with the credentials of a package manager, which is there while it installs and in no layer. */
export interface InstallSecret {
  id: string
  /** Below the home of who builds. */
  file: string
  /** In the build. */
  target: string
}

/** The account "nonroot" of distroless images. */
const USER = '65532:65532'

/** What is in no image: version control, secrets, what is installed or built anew (`made`), and files only people need. */
export function renderDockerignore(made: readonly string[]): string {
  return `# Written by "fairlead eject dockerfile". What is named here is not sent to the builder, and is in no image.
**/.git
${made.map((name) => `**/${name}\n`).join('')}**/.env
**/.env.*
**/.npmrc
**/*.pem
**/*.key
**/.DS_Store
**/README.md
**/*.log
**/Dockerfile
**/Dockerfile.dockerignore
**/.dockerignore
**/compose.yaml
`
}

/** First lines of a Dockerfile: how it is used. */
export function renderHeader(plan: { name: string; version: string }, path: string, secret?: InstallSecret): string {
  const file = path === 'Dockerfile' ? '' : ` --file ${path}`
  return `# syntax=docker/dockerfile:1
# Written by "fairlead eject dockerfile"; it is yours now, and nothing of Fairlead reads it.
#   docker build${file} --build-arg VERSION=${plan.version} --build-arg REVISION="$(git rev-parse HEAD)" --tag ${plan.name} .${secret === undefined ? '' : `\n# A registry of packages that wants credentials: add --secret id=${secret.id},src=$HOME/${secret.file}`}`
}

/** Version, commit and time as arguments of the build, as labels and for the service itself. */
export function identity(plan: {
  name: string
  version: string
  description: string | undefined
  license: string | undefined
}): string[] {
  const labels = [
    ['title', JSON.stringify(plan.name)],
    ...(plan.description === undefined
      ? []
      : [['description', JSON.stringify(plan.description).replaceAll('$', '\\$')]]),
    ...(plan.license === undefined ? [] : [['licenses', JSON.stringify(plan.license)]]),
    ['version', '"${VERSION}"'],
    ['revision', '"${REVISION}"'],
    ['created', '"${CREATED}"'],
  ]
  return [
    `ARG VERSION=${plan.version}`,
    'ARG REVISION=unknown',
    'ARG CREATED=1970-01-01T00:00:00Z',
    `LABEL ${labels.map(([name, value]) => `org.opencontainers.image.${name}=${value}`).join(' \\\n      ')}`,
    'ENV FAIRLEAD_VERSION="${VERSION}" \\\n    FAIRLEAD_COMMIT="${REVISION}" \\\n    FAIRLEAD_CREATED="${CREATED}"',
  ]
}

/** The last lines but the entry point: port, user, health. `probe` is the command that asks. */
export function closing(plan: { port: number; health: PlannedHealth }, probe: readonly string[]): string[] {
  return [
    `EXPOSE ${plan.port}`,
    `USER ${USER}`,
    'STOPSIGNAL SIGTERM',
    plan.health.kind === 'none'
      ? 'HEALTHCHECK NONE'
      : `HEALTHCHECK --interval=10s --timeout=3s --start-period=30s --retries=3 \\\n    CMD ${exec(probe)}`,
  ]
}

/** The exec form: no shell, which the image does not have. */
export function exec(words: readonly string[]): string {
  return `[${words.map((word) => JSON.stringify(word)).join(', ')}]`
}

/** The beginning of a RUN that installs: what it downloads is kept between builds, credentials are not. */
export function mounts(cache: string, { id, target }: InstallSecret): string {
  return `RUN --mount=type=cache,target=${cache} \\\n    --mount=type=secret,id=${id},target=${target} \\\n`
}
