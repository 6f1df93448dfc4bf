import { listServices, type ServiceStatus } from '@fairlead/delivery'
import { type Command, contextOption, defineCommand, jsonOption, namespaceOption } from '../command.ts'
import { notFound } from '../errors.ts'
import { connectTarget } from '../target.ts'
import { renderAge, renderTable } from '../terminal/text.ts'

/** `fairlead status` */
export const status: Command = defineCommand({
  name: 'status',
  summary: 'show the services of apps',
  args: ['[APP]'],
  options: { context: contextOption, namespace: namespaceOption, json: jsonOption },
  examples: [
    { command: 'fairlead status', text: 'every app on the embedded cluster' },
    { command: 'fairlead status shop --json', text: 'one app, for scripts' },
  ],
  async run({ options, args: [app], homes, env, terminal, signal }) {
    const { context, namespace } = options
    const client = connectTarget({ context, homes, env })
    const services = await listServices(client, { app, namespace, signal })
    if (app !== undefined && services.length === 0) {
      throw notFound(app, 'no app of this name was delivered', 'fairlead status shows every app')
    }
    if (options.json) terminal.printJson(services)
    else if (services.length === 0) terminal.note('nothing was delivered yet; fairlead up delivers an app')
    else terminal.print(renderServices(services, Date.now()))
  },
})

/** The table of services. */
export function renderServices(services: readonly ServiceStatus[], now: number): string {
  return renderTable(
    ['APP', 'SERVICE', 'READY', 'RESTARTS', 'AGE', 'URL', 'IMAGE'],
    services.map((status) => {
      const { app, service, readyReplicas, replicas, restarts, createdAt, url = '-' } = status
      const age = renderAge(createdAt, now)
      return [app, service, `${readyReplicas}/${replicas}`, String(restarts), age, url, renderImage(status)]
    }),
  )
}

/** The image that is wanted, and whether pods of another still run: after a rollout that failed these are what is ready. */
function renderImage({ image = '-', outdatedReplicas: count }: ServiceStatus): string {
  return count === 0 ? image : `${image} (still ${count} ${count === 1 ? 'pod' : 'pods'} of a version before)`
}
