import { type Command, defineCommand } from '../command.ts'
import { stopCluster } from '../embedded/cluster.ts'

/** `fairlead cluster stop` */
export const clusterStop: Command = defineCommand({
  name: 'cluster stop',
  summary: 'stop the embedded cluster and its pods; its data stays',
  description: 'Pods get their grace period. What was applied runs again after the next start.',
  options: {},
  examples: [{ command: 'fairlead cluster stop', text: 'stop what fairlead cluster start or fairlead up started' }],
  async run({ homes, terminal, signal }) {
    using steps = terminal.steps()
    const step = steps.start('cluster')
    step.update('stopping pods')
    const wasRunning = await stopCluster({ homes, signal }).catch((error: unknown) => {
      step.fail()
      throw error
    })
    step.done(wasRunning ? 'stopped' : 'was not running')
  },
})
