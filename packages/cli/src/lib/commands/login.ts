import { createKeychain, createRegistryClient } from '@fairlead/oci/registry'
import type { Credentials } from '@fairlead/oci/registry'
import { type Command, defineCommand } from '../command.ts'
import { usage } from '../errors.ts'
import { insecureOption, parseRegistry } from '../image/registry.ts'
import { askSecret } from '../terminal/ask.ts'

const maxPasswordBytes = 64 * 1024

/** `fairlead login` */
export const login: Command = defineCommand({
  name: 'login',
  summary: 'log in to a registry',
  description:
    'Checks the password or token with the registry and keeps it where Docker and Podman do: in the credential helper of ' +
    'the configuration file, else in that file (DOCKER_CONFIG, REGISTRY_AUTH_FILE), readable by you only. Without ' +
    '--username the log-ins there are, and the identity of this machine at AWS, Google Cloud or Azure, are checked.',
  args: ['REGISTRY'],
  options: {
    username: { type: 'string', short: 'u', value: 'NAME', help: 'who you are there; asks for the password' },
    'password-stdin': { type: 'boolean', help: 'read the password or token from stdin' },
    insecure: insecureOption,
  },
  examples: [
    { command: 'fairlead login ghcr.io --username ada --password-stdin < token.txt', text: 'with a token, in scripts' },
    {
      command: 'fairlead login 123456789012.dkr.ecr.eu-central-1.amazonaws.com',
      text: 'whether the AWS identity of this machine is accepted there',
    },
  ],
  async run({ options, args: [text = ''], env, terminal, signal }) {
    const registry = parseRegistry(text)
    const keychain = createKeychain({ env })
    const { username } = options
    if (username === undefined && options['password-stdin']) {
      throw usage(
        'Cannot run "fairlead login": --password-stdin needs --username',
        'Say who you are with --username NAME',
      )
    }
    const given =
      username === undefined
        ? undefined
        : { username, password: await readPassword(options['password-stdin'], username, registry, signal) }
    const credentials: Credentials | undefined = given ?? (await keychain.get(registry, signal))
    if (!credentials) {
      throw usage(
        `Cannot log in to "${registry}": nobody is logged in there, and this machine has no identity for it`,
        `Say who you are: fairlead login ${registry} --username NAME`,
      )
    }
    const client = createRegistryClient({
      credentials: () => credentials,
      ...(options.insecure ? { isPlainHttp: () => true } : {}),
    })
    await client.logIn(registry, signal)
    if (!given) {
      terminal.note(`${registry} accepts the log-in there is`)
      return
    }
    const place = await keychain.store(registry, given, signal)
    terminal.note(`logged in to ${registry} as ${given.username}, kept in ${place}`)
  },
})

/** Never from the arguments, which other users of the machine can read. */
async function readPassword(
  isPiped: boolean,
  username: string,
  registry: string,
  signal: AbortSignal,
): Promise<string> {
  const { stdin } = process
  if (!isPiped && !stdin.isTTY) {
    throw usage(
      'Cannot run "fairlead login": there is no terminal to ask for the password at',
      'Give it by a pipe and --password-stdin',
    )
  }
  const text = isPiped
    ? await readAll(stdin, signal)
    : await askSecret(stdin, `password of ${username} at ${registry}: `, signal)
  const password = text.replace(/\r?\n$/, '')
  if (password === '') throw usage('Cannot run "fairlead login": the password is empty', 'Check what is piped to stdin')
  return password
}

async function readAll(stdin: NodeJS.ReadStream, signal: AbortSignal): Promise<string> {
  const chunks: Buffer[] = []
  let size = 0
  const end = (): void => void stdin.destroy()
  signal.addEventListener('abort', end, { once: true })
  for await (const chunk of stdin as AsyncIterable<Buffer>) {
    size += chunk.byteLength
    if (size > maxPasswordBytes)
      throw usage('Cannot run "fairlead login": the password is too long', 'Check what is piped')
    chunks.push(chunk)
  }
  signal.throwIfAborted()
  return Buffer.concat(chunks).toString()
}
