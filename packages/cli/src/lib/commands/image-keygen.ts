import { existsSync } from 'node:fs'
import { resolve } from 'node:path'
import { generateKeys } from '@fairlead/oci/sign'
import { type Command, defineCommand, jsonOption } from '../command.ts'
import { writeWholeFile } from '../embedded/files.ts'
import { usage } from '../errors.ts'
import { readPassphrase } from '../image/signing.ts'
import { parseChoice } from '../parse-command.ts'

/** `fairlead image keygen` */
export const imageKeygen: Command = defineCommand({
  name: 'image keygen',
  summary: 'make a pair of keys to sign images with',
  description:
    'Writes PREFIX.key, encrypted as cosign does, and PREFIX.pub. The passphrase is COSIGN_PASSWORD, else it is asked for\nat the terminal; an empty one is one that everybody knows. Files that are there are never replaced.',
  options: {
    prefix: { type: 'string', value: 'PREFIX', help: 'path of both files without their ending; default cosign' },
    type: { type: 'string', value: 'KIND', help: 'ecdsa (P-256, default), rsa or ed25519' },
    json: jsonOption,
  },
  examples: [
    { command: 'fairlead image keygen', text: 'cosign.key and cosign.pub' },
    { command: 'fairlead image keygen --prefix keys/release --type ed25519', text: 'another place, another kind' },
  ],
  async run({ options, env, cwd, terminal, signal }) {
    const type = parseChoice('type', options.type, ['ecdsa', 'rsa', 'ed25519'])
    const prefix = resolve(cwd, options.prefix ?? 'cosign')
    const [privateFile, publicFile] = [`${prefix}.key`, `${prefix}.pub`]
    for (const file of [privateFile, publicFile]) {
      if (!existsSync(file)) continue
      throw usage(`Cannot write "${file}": it is there already`, 'Choose another name with --prefix')
    }
    const passphrase = await readPassphrase(env, undefined, signal)
    if (passphrase === undefined) {
      throw usage('Cannot run "fairlead image keygen": there is no passphrase', 'Set COSIGN_PASSWORD')
    }
    const { privateKey, publicKey } = await generateKeys({ type, passphrase })
    writeWholeFile(privateFile, privateKey)
    writeWholeFile(publicFile, publicKey)
    if (options.json) terminal.printJson({ privateKey: privateFile, publicKey: publicFile, type: type ?? 'ecdsa' })
    else for (const file of [privateFile, publicFile]) terminal.print(file)
  },
})
