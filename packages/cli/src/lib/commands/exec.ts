import { findPods, listServices } from '@fairlead/delivery'
import { execInPod, type KubeClient, type TerminalSize } from '@fairlead/kube'
import type { Pod } from '@fairlead/kube/types/core-v1'
import { type Command, contextOption, defineCommand, namespaceOption } from '../command.ts'
import { notFound, usage } from '../errors.ts'
import { connectTarget } from '../target.ts'

/** `fairlead exec` */
export const exec: Command = defineCommand({
  name: 'exec',
  summary: 'run a program in a container of an app or a service',
  description: [
    'Runs a program beside the one of a container, with its files, environment and user, passes its output and exit code on.',
    'Of several pods the first that is ready is taken; of several services of an app, the first. With -i it reads this input,',
    'with -t it sits at a terminal: -it with a shell is a session.',
  ].join('\n'),
  args: ['APP|SERVICE', '[-- args...]'],
  options: {
    stdin: { type: 'boolean', short: 'i', help: 'pass this input on' },
    tty: { type: 'boolean', short: 't', help: 'run it at a terminal' },
    container: { type: 'string', short: 'c', value: 'NAME', help: 'the container; default: the only one' },
    context: contextOption,
    namespace: namespaceOption,
  },
  examples: [
    { command: 'fairlead exec orders -- node --version', text: 'a program of the image' },
    { command: 'fairlead exec orders -it -- sh', text: 'a shell, where the image has one' },
  ],
  async run({ options, args: [subject = '', ...command], homes, env, signal }) {
    if (command.length === 0) throw usage('Cannot run nothing: no program is named', 'Write it after --')
    const isTerminal = options.tty && process.stdin.isTTY
    if (options.tty && options.stdin && !isTerminal)
      throw usage('Cannot pass this input to a terminal: it is none', 'Leave out -t')
    const client = connectTarget({ context: options.context, namespace: options.namespace, homes, env })
    const { metadata } = await findPod(client, subject, options.namespace, signal)
    if (isTerminal) process.stdin.setRawMode(true)
    try {
      return await execInPod(client, metadata?.name ?? '', command, {
        namespace: metadata?.namespace,
        container: options.container,
        stdin: options.stdin ? process.stdin : undefined,
        stdout: process.stdout,
        stderr: process.stderr,
        tty: options.tty,
        sizes: process.stdout.isTTY ? terminalSizes(process.stdout) : undefined,
        signal,
      })
    } finally {
      if (isTerminal) process.stdin.setRawMode(false)
      // A file as input has nothing to let go of; a terminal or pipe would keep this process.
      if (options.stdin && 'unref' in process.stdin) process.stdin.unref()
    }
  },
})

/** Apps may live in namespaces of their own; the first pod that runs there is meant, a ready one before others. */
async function findPod(
  client: KubeClient,
  subject: string,
  wanted: string | undefined,
  signal: AbortSignal,
): Promise<Pod> {
  const services = await listServices(client, { namespace: wanted, signal })
  const found = services.find(({ app, service }) => app === subject || service === subject)
  if (found === undefined)
    throw notFound(subject, 'no app or service of this name was delivered', 'fairlead status shows them')
  const pods = await findPods(client, { subject, namespace: found.namespace, signal })
  const running = pods.filter(({ status, metadata }) => status?.phase === 'Running' && !metadata?.deletionTimestamp)
  const pod = running.find(isReady) ?? running[0]
  if (pod === undefined) throw notFound(subject, 'none of its pods runs', 'fairlead status tells why')
  return pod
}

function isReady({ status }: Pod): boolean {
  return status?.conditions?.some(({ type, status: is }) => type === 'Ready' && is === 'True') ?? false
}

/** The size at once, then each new one. */
async function* terminalSizes(terminal: NodeJS.WriteStream): AsyncGenerator<TerminalSize> {
  for (;;) {
    yield { columns: terminal.columns, rows: terminal.rows }
    await new Promise((resolve) => terminal.once('resize', resolve))
  }
}
