import { resolve } from 'node:path'
import { type Command, defineCommand, jsonOption } from '../command.ts'
import { embeddedFiles, ensureCluster, isRunBy } from '../embedded/cluster.ts'
import { type ClusterChoices, type ClusterProcess, describeRuntime, durabilities, runtimes } from '../embedded/files.ts'
import { usage } from '../errors.ts'
import { prepareHomes } from '../homes.ts'
import { imagePolicyOption, loadImagePolicy } from '../image/signing.ts'
import { parseChoice, parseInteger, parseNames } from '../parse-command.ts'

/** `fairlead cluster start` */
export const clusterStart: Command = defineCommand({
  name: 'cluster start',
  summary: 'start the embedded cluster in the background',
  description:
    'Returns when the cluster answers. A cluster that runs already is left as it is. The port is free and chosen once,\nthen kept, so that a kubeconfig stays good across restarts; that of the registry, which serves the image store to\nthis machine, likewise (fairlead cluster status shows it).\nNodes and zones are remembered, too. Each node runs pods of its own and has an equal part of this machine to give them;\nwith fewer nodes than before those with the highest numbers go, and their pods with them.',
  options: {
    port: { type: 'string', value: 'N', help: 'port of the API server on 127.0.0.1' },
    runtime: { type: 'string', value: 'KIND', help: 'auto (default), runc or process' },
    durability: {
      type: 'string',
      value: 'MODE',
      help: 'strict (default: nothing acknowledged is lost), relaxed or memory',
    },
    nodes: { type: 'string', value: 'N', help: 'how many nodes it shows, all on this machine (default: as last time)' },
    zones: { type: 'string', value: 'A,B', help: 'zones its nodes are in, in turn' },
    'image-policy': imagePolicyOption,
    'audit-log': { type: 'string', value: 'FILE', help: 'write who asks the API for what, as JSON lines' },
    'audit-policy': { type: 'string', value: 'FILE', help: 'what the audit log holds (audit.k8s.io/v1 Policy)' },
    'access-log': { type: 'string', value: 'FILE', help: 'write what passes the gateway, as JSON lines' },
    'kubelet-config': {
      type: 'string',
      value: 'FILE',
      help: 'what nodes keep free and remove (kubelet.config.k8s.io/v1beta1 KubeletConfiguration)',
    },
    'registry-port': { type: 'string', value: 'N', help: 'port of the registry of the image store on 127.0.0.1' },
    'no-registry': { type: 'boolean', help: 'serve the image store to nobody' },
    'no-gateway': { type: 'boolean', help: 'leave Ingress, Gateway API and Istio objects to others' },
    json: jsonOption,
  },
  examples: [
    { command: 'fairlead cluster start', text: 'start, or find it running' },
    { command: 'fairlead cluster start --image-policy images.yaml', text: 'only images that are signed may run' },
    {
      command: 'fairlead cluster start --nodes 3 --zones a,b,c',
      text: 'three nodes, each with a third of the machine',
    },
    { command: 'fairlead cluster start --port 6443', text: 'at a port of your choice' },
  ],
  async run({ options, homes, env, cwd, terminal, signal }) {
    const port = parseInteger('port', options.port, 1, 65535)
    const registryPort = parseInteger('registry-port', options['registry-port'], 1, 65535)
    const nodes = parseInteger('nodes', options.nodes, 1, 20)
    const zones = parseNames(options.zones)
    const noRegistry = options['no-registry'] || undefined
    const noGateway = options['no-gateway'] || undefined
    if (noRegistry && registryPort !== undefined) {
      throw usage('Cannot use --registry-port with --no-registry', 'Leave one of them out')
    }
    const runtime = parseChoice('runtime', options.runtime, runtimes)
    const durability = parseChoice('durability', options.durability, durabilities)
    const policyFile = options['image-policy']
    const imagePolicy = policyFile === undefined ? undefined : resolve(cwd, policyFile)
    // Told here and not in the log of the background process.
    if (imagePolicy !== undefined) await loadImagePolicy(imagePolicy, env)
    const auditLog = options['audit-log'] === undefined ? undefined : resolve(cwd, options['audit-log'])
    const auditPolicy = options['audit-policy'] === undefined ? undefined : resolve(cwd, options['audit-policy'])
    const accessLog = options['access-log'] === undefined ? undefined : resolve(cwd, options['access-log'])
    const kubeletConfig = options['kubelet-config'] === undefined ? undefined : resolve(cwd, options['kubelet-config'])
    if (auditPolicy !== undefined && auditLog === undefined) {
      throw usage('Cannot use --audit-policy without --audit-log', 'Name the file the log goes to')
    }
    prepareHomes(homes)
    using steps = terminal.steps()
    const step = steps.start('cluster')
    const asked = {
      port,
      registryPort,
      nodes,
      zones,
      noRegistry,
      noGateway,
      runtime,
      durability,
      imagePolicy,
      auditLog,
      auditPolicy,
      accessLog,
      kubeletConfig,
    }
    const started = await ensureCluster({ homes, ...asked, signal }).catch((error: unknown) => {
      step.fail()
      throw error
    })
    const { url, pid, runtime: used } = started.process
    step.done(
      `${started.isStarted ? 'started' : 'runs already'} at ${url}, pods as ${describeRuntime(started.process)}`,
    )
    const ignored = started.isStarted ? [] : listIgnored(asked, started.process)
    if (ignored.length > 0) {
      terminal.note(`it is left as it is; ${ignored.join(' and ')} can be had after fairlead cluster stop`)
    }
    const kubeconfig = embeddedFiles(homes).kubeconfig
    if (options.json) {
      const { nodes: shown } = started.process
      terminal.printJson({ started: started.isStarted, url, pid, runtime: used, nodes: shown, kubeconfig })
    }
    if (!options.json) terminal.note(`next: export KUBECONFIG=${kubeconfig}`)
  },
})

const fileOptions = [
  ['--image-policy', 'imagePolicy'],
  ['--audit-log', 'auditLog'],
  ['--audit-policy', 'auditPolicy'],
  ['--access-log', 'accessLog'],
  ['--kubelet-config', 'kubeletConfig'],
] as const

/** The options that were asked for and that the running cluster does not have. */
export function listIgnored(
  asked: ClusterChoices & { readonly port?: number | undefined; readonly registryPort?: number | undefined },
  running: ClusterProcess,
): string[] {
  const { port, registryPort, noRegistry, runtime, durability } = asked
  const ignored: string[] = []
  if (asked.nodes !== undefined && asked.nodes !== running.nodes?.length) ignored.push(`--nodes ${asked.nodes}`)
  const { zones = [] } = asked
  if (running.nodes?.some(({ zone }, index) => zones.length > 0 && zone !== zones[index % zones.length])) {
    ignored.push(`--zones ${zones.join(',')}`)
  }
  if (port !== undefined && !running.url?.endsWith(`:${port}`)) ignored.push(`--port ${port}`)
  if (runtime !== undefined && !isRunBy(running, runtime)) ignored.push(`--runtime ${runtime}`)
  const used = running.choices?.durability ?? 'strict'
  if (durability !== undefined && durability !== used) ignored.push(`--durability ${durability}`)
  for (const [option, name] of fileOptions) {
    const file = asked[name]
    if (file !== undefined && file !== running.choices?.[name]) ignored.push(`${option} ${file}`)
  }
  const { registry } = running
  const address = registry?.state === 'ready' ? registry.address : undefined
  if (registryPort !== undefined && !address?.endsWith(`:${registryPort}`)) {
    ignored.push(`--registry-port ${registryPort}`)
  }
  if (noRegistry && registry) ignored.push('--no-registry')
  if (asked.noGateway && running.choices?.noGateway !== true) ignored.push('--no-gateway')
  return ignored
}
