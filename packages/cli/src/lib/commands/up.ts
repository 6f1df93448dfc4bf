import { relative, resolve } from 'node:path'
import {
  type Applied,
  applyObjects,
  ensureCredentials,
  type ReadyService,
  type ServiceProgress,
  waitForReady,
} from '@fairlead/delivery'
import { type App, loadApp } from '@fairlead/delivery/app'
import { renderBacking, renderKubernetes } from '@fairlead/delivery/render'
import type { KubeClient } from '@fairlead/kube'
import type { KubeObject } from '@fairlead/kube/types'
import { type Command, contextOption, defineCommand, jsonOption } from '../command.ts'
import { connectEmbedded, embeddedFiles, ensureCluster, type RunningCluster, stopCluster } from '../embedded/cluster.ts'
import { describeRuntime } from '../embedded/files.ts'
import { watchForEnd } from '../embedded/process.ts'
import { clusterGone } from '../errors.ts'
import { prepareHomes } from '../homes.ts'
import { imagePolicyOption, loadImagePolicy, openSigningKey } from '../image/signing.ts'
import { parseTimeout } from '../parse-command.ts'
import { connectTarget } from '../target.ts'
import type { Step, Steps } from '../terminal/steps.ts'
import { renderDuration } from '../terminal/text.ts'
import { buildServices, type BuiltService, checkBase, describeBases } from '../up/build-services.ts'
import { checkAllowed, checkPolicyInUse } from '../up/image-policy.ts'
import { settlePublicPorts } from '../up/preflight.ts'
import { settleTogether } from '../up/settle.ts'

/** `fairlead up` */
export const up: Command = defineCommand({
  name: 'up',
  summary: 'build an app, deliver it to a cluster, wait and show its URLs',
  description:
    'Without --context the app goes to the embedded cluster, which is started when it does not run and goes on running\nafterwards. A folder with nothing but a package.json is an app too.',
  args: ['[dir]'],
  options: {
    context: contextOption,
    detach: { type: 'boolean', help: 'wait until the programs run, not until the services are ready' },
    timeout: { type: 'string', value: 'TIME', help: 'how long to wait for readiness, such as 90s; default 2m' },
    base: { type: 'string', value: 'BASE', help: 'what images stand on: auto (default), debian or a reference' },
    'sign-key': { type: 'string', value: 'KEY', help: 'sign the images with this private key, a file or env://NAME' },
    'image-policy': imagePolicyOption,
    json: jsonOption,
  },
  examples: [
    { command: 'fairlead up examples/shop', text: 'from source to URLs on this machine' },
    { command: 'fairlead up --context staging', text: 'the same objects on another cluster' },
  ],
  async run({ options, args: [dir = '.'], homes, env, cwd, terminal, signal }) {
    const started = performance.now()
    const { context, base } = options
    const deadlineMs = parseTimeout('timeout', options.timeout)
    checkBase(base)
    const { 'sign-key': keySource, 'image-policy': policyFile } = options
    const imagePolicy = policyFile === undefined ? undefined : resolve(cwd, policyFile)
    if (imagePolicy !== undefined) await loadImagePolicy(imagePolicy, env)
    const signKey = keySource === undefined ? undefined : await openSigningKey('up', keySource, { env, cwd, signal })
    prepareHomes(homes)
    const loaded = await loadApp(resolve(cwd, dir), { signal })
    const app = context === undefined ? await settlePublicPorts(loaded, homes, signal) : loaded
    let cluster: RunningCluster | undefined
    let delivered: Delivered
    let isApplying = false
    const onApply = (): void => void (isApplying = true)
    {
      using steps = terminal.steps()
      try {
        const target = context === undefined ? startEmbedded : connectContext
        const [built, client] = await settleTogether(signal, [
          (scope) => buildServices(app, { homes, steps, base, env, signKey, signal: scope }),
          (scope) => target(steps, scope),
        ])
        using watch = cluster && watchForEnd(cluster.process, () => clusterGone(embeddedFiles(homes).log))
        await checkAllowed(built, cluster?.process.choices?.imagePolicy, { homes, env })
        const scope = watch ? AbortSignal.any([signal, watch.signal]) : signal
        const { detach } = options
        delivered = await deliver({ app, built, client, steps, deadlineMs, detach, signal: scope, onApply })
      } catch (error) {
        if (cluster?.isStarted) await undoStart(steps)
        else if (isApplying && signal.aborted) noteWhatStays()
        throw error
      }
    }
    report(delivered)

    async function startEmbedded(steps: Steps, scope: AbortSignal): Promise<KubeClient> {
      const step = steps.start('cluster')
      try {
        cluster = await ensureCluster({ homes, imagePolicy, signal: scope })
        checkPolicyInUse(imagePolicy, cluster)
        const how = cluster.isStarted ? 'started' : 'running'
        step.done(`${how} at ${cluster.process.url}, pods as ${describeRuntime(cluster.process)}`)
        return connectEmbedded(homes)
      } catch (error) {
        step.fail(scope.aborted ? 'interrupted' : 'failed')
        throw error
      }
    }

    async function connectContext(): Promise<KubeClient> {
      return connectTarget({ context, homes, env })
    }

    /** A run that failed leaves nothing running that it started. */
    async function undoStart(steps: Steps): Promise<void> {
      const step = steps.start('cluster')
      step.update('stopping what this run started')
      const isStopped = await stopCluster({ homes, signal: new AbortController().signal }).then(
        () => true,
        () => false,
      )
      if (isStopped) step.done('stopped again; nothing is left running')
      else step.fail('did not stop; fairlead cluster status tells more')
    }

    /** A cluster that ran before goes on, and with it what this run gave it. */
    function noteWhatStays(): void {
      const [statusCommand] = nextCommands(app, context, env, cwd)
      terminal.note('what was applied stays on the cluster')
      terminal.note(terminal.paint('dim', statusCommand ?? ''))
    }

    function report({ built, applied, services }: Delivered): void {
      const durationMs = Math.round(performance.now() - started)
      const hasChanged =
        built.some(({ image }) => image.changed) || applied.some(({ action }) => action !== 'unchanged')
      if (options.json) {
        terminal.printJson({
          app: app.name,
          context: context ?? 'embedded',
          changed: hasChanged,
          durationMs,
          services: built.map(({ service, image }) => ({
            service,
            image: image.reference,
            digest: image.digest,
            url: services.find((ready) => ready.service === service)?.url,
          })),
        })
        return
      }
      for (const { warnings } of built) for (const warning of warnings) terminal.note(warning)
      for (const line of describeBases(built)) terminal.note(terminal.paint('dim', line))
      const state = options.detach ? 'started, its readiness not waited for' : hasChanged ? 'up' : 'up, nothing changed'
      terminal.note(terminal.paint('bold', `${app.name} is ${state} (${renderDuration(durationMs)})`))
      for (const { service, url } of services) if (url !== undefined) terminal.print(`${service}  ${url}`)
      for (const line of nextCommands(app, context, env, cwd)) terminal.note(terminal.paint('dim', line))
    }
  },
})

interface Delivered {
  readonly built: readonly BuiltService[]
  readonly applied: readonly Applied[]
  readonly services: readonly ReadyService[]
}

interface DeliverOptions {
  readonly app: App
  readonly built: readonly BuiltService[]
  readonly client: KubeClient
  readonly steps: Steps
  readonly deadlineMs: number | undefined
  readonly detach: boolean
  readonly signal: AbortSignal
  /** Called before the first object is sent. */
  readonly onApply: () => void
}

async function deliver(options: DeliverOptions): Promise<Delivered> {
  const { app, built, client, steps, detach, signal } = options
  const images = Object.fromEntries(built.map(({ service, image }) => [service, image.reference]))
  options.onApply()
  const backing = detach ? [] : await deliverBacking(options)
  const objects = renderKubernetes(app, images)
  const applied = await during(steps.start('apply'), async (step) => {
    if (detach) await ensureCredentials(client, app, { signal })
    const results = await applyObjects(client, objects, { namespace: app.namespace, pruneApp: app.name, signal })
    // What was made a moment ago is not unchanged.
    const all = results.map((result) => backing.find(({ object }) => isSame(object, result.object)) ?? result)
    step.done(countActions(all))
    return all
  })
  const live = applied.filter(({ action }) => action !== 'pruned').map(({ object }) => object)
  const named = detach ? [...(app.backing ?? []), ...app.services] : app.services
  return { built, applied, services: await waitFor(live, named, options) }
}

/** Databases and brokers come first: a service that ends where it does not reach one would crash until it does. */
async function deliverBacking(options: DeliverOptions): Promise<Applied[]> {
  const { app, client, steps, signal } = options
  if (!app.backing) return []
  const applied = await during(steps.start('backing'), async (step) => {
    await ensureCredentials(client, app, { signal })
    const results = await applyObjects(client, renderBacking(app), { namespace: app.namespace, signal })
    step.done(countActions(results))
    return results
  })
  await waitFor(
    applied.map(({ object }) => object),
    app.backing,
    options,
  )
  return applied
}

/** Waits for the workloads among `objects`, with a line for each of `named`. */
async function waitFor(
  objects: readonly KubeObject[],
  named: readonly { readonly name: string }[],
  { client, steps, deadlineMs, detach, signal }: DeliverOptions,
): Promise<ReadyService[]> {
  const waiting = new Map(named.map(({ name }) => [name, steps.start(name)]))
  const state = detach ? 'started' : 'ready'
  const onProgress = ({ service, phase, detail }: ServiceProgress): void => {
    const step = waiting.get(service)
    if (phase === 'ready') step?.done(detail === '' ? state : `${state} at ${detail}`)
    else step?.update(detail)
    if (phase === 'ready') waiting.delete(service)
  }
  try {
    const services = await waitForReady(client, objects, { until: state, deadlineMs, signal, onProgress })
    for (const step of waiting.values()) step.done('ready, without an address yet')
    return services
  } catch (error) {
    for (const step of waiting.values()) step.fail(signal.aborted ? 'interrupted' : 'not ready')
    throw error
  }
}

function isSame(a: KubeObject, b: KubeObject): boolean {
  return a.kind === b.kind && a.metadata.uid !== undefined && a.metadata.uid === b.metadata.uid
}

async function during<T>(step: Step, work: (step: Step) => Promise<T>): Promise<T> {
  try {
    return await work(step)
  } catch (error) {
    step.fail('failed')
    throw error
  }
}

function countActions(applied: readonly Applied[]): string {
  const actions = ['created', 'configured', 'pruned', 'unchanged'] as const
  return actions
    .map((action) => ({ action, count: applied.filter((result) => result.action === action).length }))
    .filter(({ count }) => count > 0)
    .map(({ action, count }) => `${count} ${action}`)
    .join(', ')
}

/** What a person may want to do next; through npx when npm runs us, because then `fairlead` is not on the PATH. */
function nextCommands(app: App, context: string | undefined, env: NodeJS.ProcessEnv, cwd: string): string[] {
  const fairlead = env['npm_command'] === undefined ? 'fairlead' : 'npx fairlead'
  const on = context === undefined ? '' : ` --context ${context}`
  const folder = relative(cwd, app.dir)
  return [
    `status     ${fairlead} status ${app.name}${on}`,
    `logs       ${fairlead} logs ${app.name} -f${on}`,
    ...(context === undefined
      ? [`kubectl    export KUBECONFIG=$(${fairlead} cluster kubeconfig --path)`, `stop       ${fairlead} down`]
      : []),
    `change it  edit the source, then ${fairlead} up${folder === '' ? '' : ` ${folder}`}${on}`,
  ]
}
