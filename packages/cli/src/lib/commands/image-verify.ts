import { resolve } from 'node:path'
import { collectEvidence, decideImage, predicateTypes, verifyImage } from '@fairlead/oci/sign'
import type { Evidence } from '@fairlead/oci/sign'
import { type Command, defineCommand, jsonOption } from '../command.ts'
import { imageNotAllowed, usage } from '../errors.ts'
import { insecureOption, layoutOption } from '../image/registry.ts'
import {
  annotationsOption,
  loadImagePolicy,
  openHome,
  openPublicKey,
  parseAnnotations,
  parseType,
  publicKeyOption,
  typeOption,
  whereItLies,
} from '../image/signing.ts'

/** `fairlead image verify` */
export const imageVerify: Command = defineCommand({
  name: 'image verify',
  summary: 'verify who signed an image, or whether it may run',
  description: `By key: whether the key signed the image, or with --type stated something about it. By policy: whether a cluster with\nthat policy would run it. Exit code 1 when not. ${whereItLies}`,
  args: ['REFERENCE'],
  options: {
    key: publicKeyOption,
    policy: { type: 'string', value: 'FILE', help: 'an image policy, YAML or JSON, instead of a key' },
    type: typeOption,
    annotations: annotationsOption,
    layout: layoutOption,
    insecure: insecureOption,
    json: jsonOption,
  },
  examples: [
    { command: 'fairlead image verify ghcr.io/acme/web:1.4.0 --key cosign.pub', text: 'its signature' },
    {
      command: 'fairlead image verify localhost/shop/web:latest --key cosign.pub --type slsaprovenance --json',
      text: 'where it came from, with proof',
    },
    { command: 'fairlead image verify ghcr.io/acme/web:1.4.0 --policy images.yaml', text: 'whether it may run' },
  ],
  async run({ options, args: [reference = ''], homes, env, cwd, terminal, signal }) {
    const annotations = parseAnnotations(options.annotations)
    const predicateType = parseType(options.type) ?? predicateTypes.signature
    if ((options.policy === undefined) === (options.key === undefined)) {
      throw usage('Cannot run "fairlead image verify": it needs either --key or --policy', 'Give one of the two')
    }
    const policy = options.policy === undefined ? undefined : await loadImagePolicy(resolve(cwd, options.policy), env)
    const key = policy ? undefined : await openPublicKey('image verify', options.key, { env, cwd })
    const home = await openHome(reference, { ...options, homes, env, signal })
    let evidence: readonly Evidence[]
    if (policy) {
      evidence = (await collectEvidence(home, home.image.digest, { keys: [...policy.keys.values()] })).verified
      const decision = decideImage(policy, reference, evidence)
      if (!decision.isAllowed) throw imageNotAllowed(home.reference, decision.reason)
    } else evidence = await verifyImage(home, { keys: key ? [key] : [], predicateType, annotations })
    if (options.json) {
      const verified = evidence.map(({ key: by, ...rest }) => ({ ...rest, key: by.name, keyHint: by.hint }))
      terminal.printJson({ reference: home.reference, digest: home.image.digest, verified })
      return
    }
    terminal.print(`${home.repository}@${home.image.digest}`)
    for (const { predicateType: type, key: by } of evidence) terminal.note(`${type} by ${by.name}`)
  },
})
