import { existsSync, readFileSync } from 'node:fs'
import { homedir } from 'node:os'
import { delimiter, join } from 'node:path'
import { mergeKubeconfigs, parseKubeconfig, renderKubeconfig } from '@fairlead/kube'
import { type Command, defineCommand } from '../command.ts'
import { embeddedFiles } from '../embedded/cluster.ts'
import { writeWholeFile } from '../embedded/files.ts'
import { clusterAbsent } from '../errors.ts'

/** `fairlead cluster kubeconfig` */
export const clusterKubeconfig: Command = defineCommand({
  name: 'cluster kubeconfig',
  summary: 'print the kubeconfig of the embedded cluster',
  description: 'It holds the credentials of an administrator of this cluster: keep it to yourself.',
  options: {
    path: { type: 'boolean', help: 'print the path of the file instead' },
    merge: { type: 'boolean', help: 'add it to your own kubeconfig and make it the current context' },
  },
  examples: [
    { command: 'export KUBECONFIG=$(fairlead cluster kubeconfig --path)', text: 'use kubectl with this cluster' },
    { command: 'fairlead cluster kubeconfig > admin.kubeconfig', text: 'a copy of the file' },
  ],
  async run({ options, homes, env, terminal }) {
    const file = embeddedFiles(homes).kubeconfig
    if (!existsSync(file)) throw clusterAbsent()
    if (options.path) {
      terminal.print(file)
    } else if (options.merge) {
      const own = env['KUBECONFIG']?.split(delimiter)[0] || join(env['HOME'] ?? homedir(), '.kube', 'config')
      terminal.note(`added context "${merge(file, own)}" to ${own}`)
    } else {
      terminal.print(readFileSync(file, 'utf8').trimEnd())
    }
  },
})

/** Adds the contexts of `file` to `own`; what was there under the same name is replaced. Returns the current context. */
function merge(file: string, own: string): string {
  const added = parseKubeconfig(readFileSync(file, 'utf8'), file)
  const merged = existsSync(own) ? mergeKubeconfigs(added, parseKubeconfig(readFileSync(own, 'utf8'), own)) : added
  writeWholeFile(own, renderKubeconfig(merged))
  return merged['current-context'] ?? ''
}
