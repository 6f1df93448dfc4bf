import { type Command, defineCommand } from '../command.ts'
import { embeddedFiles, removeCluster, stopCluster } from '../embedded/cluster.ts'

/** `fairlead down` */
export const down: Command = defineCommand({
  name: 'down',
  summary: 'stop the embedded cluster',
  description:
    'Stops the cluster and every pod on it. What was applied runs again after the next start, unless --purge.',
  options: { purge: { type: 'boolean', help: 'remove the data of the cluster too; images stay' } },
  examples: [
    { command: 'fairlead down', text: 'stop everything, keep the data' },
    { command: 'fairlead down --purge', text: 'leave nothing behind but the images' },
  ],
  async run({ options, homes, terminal, signal }) {
    using steps = terminal.steps()
    const step = steps.start('cluster')
    try {
      step.update('stopping pods')
      const wasRunning = await stopCluster({ homes, signal })
      if (options.purge) removeCluster(homes)
      const state = wasRunning ? 'stopped' : 'was not running'
      step.done(options.purge ? `${state}, removed ${embeddedFiles(homes).dir}` : state)
    } catch (error) {
      step.fail()
      throw error
    }
  },
})
