import { followLogs, listServices, type LogLine, readLogs } from '@fairlead/delivery'
import { type Command, contextOption, defineCommand, jsonOption, namespaceOption } from '../command.ts'
import { notFound } from '../errors.ts'
import { parseInteger } from '../parse-command.ts'
import { connectTarget } from '../target.ts'

/** `fairlead logs` */
export const logs: Command = defineCommand({
  name: 'logs',
  summary: 'print the logs of an app or a service',
  description: 'Lines of all its pods in the order of time, each with the service and the pod it comes from.',
  args: ['[APP|SERVICE]'],
  options: {
    follow: { type: 'boolean', short: 'f', help: 'go on with new lines until Ctrl-C' },
    tail: { type: 'string', value: 'N', help: 'the last N lines of each pod only' },
    context: contextOption,
    namespace: namespaceOption,
    json: { ...jsonOption, help: 'print one JSON object per line: service, pod, text' },
  },
  examples: [
    { command: 'fairlead logs shop --tail 20', text: 'the last lines of every service of the app' },
    { command: 'fairlead logs orders -f', text: 'one service, as it writes' },
  ],
  async run({ options, args: [subject], homes, env, terminal, signal }) {
    const { context } = options
    const tailLines = parseInteger('tail', options.tail, 0, 1_000_000)
    const client = connectTarget({ context, namespace: options.namespace, homes, env })
    const namespace = await findNamespace()
    const print = (line: LogLine): void =>
      terminal.print(options.json ? JSON.stringify(line) : `${nameSource(line)} | ${line.text}`)
    if (options.follow) await follow()
    else for (const line of await readLogs(client, { subject, namespace, tailLines, signal })) print(line)

    /** Ctrl-C is how following ends, no failure. */
    async function follow(): Promise<void> {
      try {
        await followLogs(client, { subject, namespace, tailLines, signal }, print)
      } catch (error) {
        if (!signal.aborted) throw error
      }
    }

    /** Apps may live in namespaces of their own; the first that has the subject is meant. */
    async function findNamespace(): Promise<string> {
      const services = await listServices(client, { namespace: options.namespace, signal })
      const found = services.find(({ app, service }) => subject === undefined || app === subject || service === subject)
      if (found || subject === undefined) return options.namespace ?? found?.namespace ?? client.namespace
      throw notFound(subject, 'no app or service of this name was delivered', 'fairlead status shows them')
    }
  },
})

/** Service and the last part of the pod's name, which tells the pods of a service apart. */
function nameSource({ service, pod }: LogLine): string {
  return `${service}/${pod.split('-').at(-1)}`
}
