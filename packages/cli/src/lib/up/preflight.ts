import { listServicePorts, type ServicePort } from '@fairlead/delivery'
import type { App, AppService } from '@fairlead/delivery/app'
import { connectEmbedded, embeddedFiles } from '../embedded/cluster.ts'
import { findProcess } from '../embedded/process.ts'
import { portForbidden, portInUse } from '../errors.ts'
import type { Homes } from '../homes.ts'
import { describeHolder, findPortHolder, probePort } from '../ports.ts'

/**
 * Makes sure that the public ports of an app can be had on this machine: free, or taken by this app on the running
 * embedded cluster. Where nobody chose a port, the next that can be had is taken; the app with these ports is returned.
 * Throws FAIRLEAD_CLI_PORT_IN_USE or FAIRLEAD_CLI_PORT_FORBIDDEN before anything is started.
 */
export async function settlePublicPorts(app: App, homes: Homes, signal: AbortSignal): Promise<App> {
  const taken = await listTaken(homes, signal)
  const services: AppService[] = []
  for (const service of app.services) services.push(await settleService(app, service, taken))
  return { ...app, services }
}

async function settleService(app: App, service: AppService, taken: readonly ServicePort[]): Promise<AppService> {
  if (service.public === undefined) return service
  if (!service.isPublicPortChosen) return { ...service, public: await findPort(app, service, service.public, taken) }
  const problem = await findProblem(app, service, service.public, taken)
  if (problem) throw problem
  return service
}

/** The port this service has already, else the first from `port` on that can be had. */
async function findPort(app: App, service: AppService, port: number, taken: readonly ServicePort[]): Promise<number> {
  const own = taken.find((known) => known.app === app.name && known.service === service.name)
  if (own) return own.port
  const last = port + 100
  for (let candidate = port; candidate < last; candidate++) {
    if (!(await findProblem(app, service, candidate, taken))) return candidate
  }
  return port
}

async function findProblem(
  app: App,
  { name }: AppService,
  port: number,
  taken: readonly ServicePort[],
): Promise<Error | undefined> {
  const owner = taken.find((known) => known.port === port)
  if (owner?.app === app.name) return undefined
  const what = `the service "${name}"`
  const hint = `Set "public" of the service "${name}" to another port in ${app.file}, or free this one`
  if (owner) return portInUse(port, what, describeOwner(owner), hint)
  const state = await probePort(port)
  if (state === 'forbidden') return portForbidden(port, what)
  return state === 'in-use' ? portInUse(port, what, describeHolder(findPortHolder(port)), hint) : undefined
}

function describeOwner({ app, service }: ServicePort): string {
  const whose = app === undefined ? '' : ` of the app "${app}"`
  return `the Service "${service}"${whose} on the embedded cluster`
}

/** The ports that Services of the embedded cluster have outside; none when it does not run. */
async function listTaken(homes: Homes, signal: AbortSignal): Promise<readonly ServicePort[]> {
  if (findProcess(embeddedFiles(homes))?.state !== 'ready') return []
  return await listServicePorts(connectEmbedded(homes), { signal })
}
