import { type Command, defineCommand } from '../command.ts'
import { embeddedFiles, removeCluster, stopCluster } from '../embedded/cluster.ts'

/** `fairlead cluster reset` */
export const clusterReset: Command = defineCommand({
  name: 'cluster reset',
  summary: 'stop the embedded cluster and remove its data',
  description: 'Everything applied to the cluster and every volume of its pods is removed. Images stay.',
  options: {},
  examples: [{ command: 'fairlead cluster reset', text: 'start over with an empty cluster' }],
  async run({ homes, terminal, signal }) {
    using steps = terminal.steps()
    const step = steps.start('cluster')
    try {
      step.update('stopping pods')
      await stopCluster({ homes, signal })
      step.update('removing data')
      step.done(removeCluster(homes) ? `stopped, removed ${embeddedFiles(homes).dir}` : 'has no data')
    } catch (error) {
      step.fail()
      throw error
    }
  },
})
