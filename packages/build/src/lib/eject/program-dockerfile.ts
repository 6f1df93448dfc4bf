import { closing, exec, identity, renderHeader } from './dockerfile-lines.ts'
import type { DockerfileText } from './dockerfile-lines.ts'
import type { PlannedHealth } from './plan.ts'
import type { ProgramPlan } from './program-plan.ts'

/** The images below a static program: certificates, time zones and accounts; and where the one tool comes from that asks it. */
export function programImages({ health }: ProgramPlan): { runtime: string; probe?: string } {
  return {
    runtime: 'gcr.io/distroless/static-debian13:nonroot',
    ...(health.kind === 'none' ? {} : { probe: 'docker.io/library/busybox:1.37.0-musl' }),
  }
}

/** A Dockerfile of one stage and a program for the health check: what was built before is copied, and nothing is made. */
export function renderProgramDockerfile(
  plan: ProgramPlan,
  { path, images }: DockerfileText<'runtime'> & { images: { probe?: string } },
): string {
  const { health, program, files, folders, name, port } = plan
  const { probe } = images
  const tool = toolOf(health)
  return `${[
    renderHeader(plan, path),
    [`ARG RUNTIME_IMAGE=${images.runtime}`, ...(probe === undefined ? [] : [`ARG PROBE_IMAGE=${probe}`])].join('\n'),
    ...(probe === undefined ? [] : ['FROM ${PROBE_IMAGE} AS probe']),
    [
      'FROM ${RUNTIME_IMAGE}',
      ...(program.includes('${TARGETARCH}') ? ['# Set by the builder: amd64 or arm64.\nARG TARGETARCH'] : []),
      `ENV PORT=${port}`,
      'WORKDIR /app',
      ...(probe === undefined ? [] : [`COPY --from=probe /bin/${tool} /usr/local/bin/${tool}`]),
      ...(files.length === 0 ? [] : [`COPY ${exec([...files, './'])}`]),
      ...folders.map((folder) => `COPY ${exec([folder, `./${folder}`])}`),
      `COPY --chmod=755 ${program} /app/${name}`,
      ...identity(plan),
      ...closing(plan, programProbe(health, port)),
      `ENTRYPOINT ${exec([`/app/${name}`])}`,
    ].join('\n'),
  ].join('\n\n')}\n`
}

/** The command that asks the program in a container, at its port: there is no shell that would read a variable. */
export function programProbe(health: PlannedHealth, port: number): string[] {
  const tool = `/usr/local/bin/${toolOf(health)}`
  return health.kind === 'http'
    ? [tool, '-q', '-T', '3', '-O', '/dev/null', `http://127.0.0.1:${port}${health.path}`]
    : [tool, '-z', '-w', '3', '127.0.0.1', String(port)]
}

function toolOf({ kind }: PlannedHealth): 'wget' | 'nc' {
  return kind === 'http' ? 'wget' : 'nc'
}
