import { createKeychain } from '@fairlead/oci/registry'
import { type Command, defineCommand } from '../command.ts'
import { parseRegistry } from '../image/registry.ts'

/** `fairlead logout` */
export const logout: Command = defineCommand({
  name: 'logout',
  summary: 'forget the log-in at a registry',
  description: 'Removes the credentials from the credential helper and from the files of Docker and Podman.',
  args: ['REGISTRY'],
  options: {},
  examples: [{ command: 'fairlead logout ghcr.io', text: 'docker and podman are logged out too' }],
  async run({ args: [text = ''], env, terminal, signal }) {
    const registry = parseRegistry(text)
    const places = await createKeychain({ env }).erase(registry, signal)
    if (places.length === 0) terminal.note(`nobody was logged in to ${registry}`)
    for (const place of places) terminal.note(`removed from ${place}`)
  },
})
