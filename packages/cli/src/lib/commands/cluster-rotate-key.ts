import { existsSync } from 'node:fs'
import { type Command, defineCommand } from '../command.ts'
import { embeddedFiles } from '../embedded/cluster.ts'
import { findProcess } from '../embedded/process.ts'
import { clusterAbsent } from '../errors.ts'

/** `fairlead cluster rotate-key` */
export const clusterRotateKey: Command = defineCommand({
  name: 'cluster rotate-key',
  summary: 'sign tokens of service accounts with a new key from the next start on',
  description: [
    'Tokens that were signed before stay good, and /openid/v1/jwks shows the keys of both. To end them, remove',
    'pki/service-account-earlier.pem in the directory of the cluster before it starts, and restart its pods.',
  ].join('\n'),
  options: {},
  examples: [
    { command: 'fairlead cluster rotate-key', text: 'make another key; it signs when the cluster starts next' },
  ],
  async run({ homes, terminal }) {
    const files = embeddedFiles(homes)
    if (!existsSync(files.data)) throw clusterAbsent()
    const { rotateSigningKey } = await import('@fairlead/cluster')
    await rotateSigningKey(files.data)
    const isRunning = findProcess(files) !== undefined
    const when = isRunning ? 'when the cluster has been stopped and started' : 'when the cluster starts'
    terminal.note(`made a new key; it signs ${when}`)
  },
})
