import { signImage } from '@fairlead/oci/sign'
import { type Command, defineCommand, jsonOption } from '../command.ts'
import { insecureOption, layoutOption } from '../image/registry.ts'
import {
  annotationsOption,
  legacyOption,
  openHome,
  openSigningKey,
  parseAnnotations,
  signingKeyOption,
  whereItLies,
} from '../image/signing.ts'

/** `fairlead image sign` */
export const imageSign: Command = defineCommand({
  name: 'image sign',
  summary: 'sign an image with a key',
  description: `Of an image for several platforms the list and each image in it are signed. cosign verifies the result, and the image\nitself stays as it is. ${whereItLies}`,
  args: ['REFERENCE'],
  options: {
    key: signingKeyOption,
    annotations: annotationsOption,
    legacy: legacyOption,
    layout: layoutOption,
    insecure: insecureOption,
    json: jsonOption,
  },
  examples: [
    { command: 'fairlead image sign localhost/shop/web:latest --key cosign.key', text: 'before it is pushed' },
    { command: 'fairlead image sign ghcr.io/acme/web:1.4.0 --key env://SIGNING_KEY --json', text: 'in a pipeline' },
  ],
  async run({ options, args: [reference = ''], homes, env, cwd, terminal, signal }) {
    const annotations = parseAnnotations(options.annotations)
    const key = await openSigningKey('image sign', options.key, { env, cwd, signal })
    const home = await openHome(reference, { ...options, homes, env, signal })
    const signed = await signImage(home, { key, annotations, legacy: options.legacy })
    if (options.json) terminal.printJson({ reference: home.reference, keyHint: key.publicKey.hint, signed })
    else for (const { subject } of signed) terminal.print(`${home.repository}@${subject}`)
    if (signed.every(({ digest }) => digest === undefined)) terminal.note('this key had signed it before')
  },
})
