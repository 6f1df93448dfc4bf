import type { Command } from '../command.ts'
import type { CommandEntry } from '../help.ts'

/** A command that is loaded when it is called: `fairlead version` must not wait for the image builder. */
export interface LazyCommand extends CommandEntry {
  readonly hidden?: true
  load(): Promise<Command>
}

/** Every command, in the order of the help. */
export const commands: readonly LazyCommand[] = [
  {
    name: 'init',
    summary: 'write a small service with tests into a folder',
    load: async () => (await import('./init.ts')).init,
  },
  {
    name: 'up',
    summary: 'build an app, deliver it to a cluster, wait and show its URLs',
    load: async () => (await import('./up.ts')).up,
  },
  {
    name: 'down',
    summary: 'stop the embedded cluster',
    load: async () => (await import('./down.ts')).down,
  },
  {
    name: 'build',
    summary: 'build the images of an app',
    load: async () => (await import('./build.ts')).build,
  },
  {
    name: 'config check',
    summary: 'check values against the configuration of services, without starting them',
    load: async () => (await import('./config-check.ts')).configCheck,
  },
  {
    name: 'status',
    summary: 'show the services of apps',
    load: async () => (await import('./status.ts')).status,
  },
  {
    name: 'logs',
    summary: 'print the logs of an app or a service',
    load: async () => (await import('./logs.ts')).logs,
  },
  {
    name: 'cluster start',
    summary: 'start the embedded cluster in the background',
    load: async () => (await import('./cluster-start.ts')).clusterStart,
  },
  {
    name: 'cluster stop',
    summary: 'stop the embedded cluster and its pods; its data stays',
    load: async () => (await import('./cluster-stop.ts')).clusterStop,
  },
  {
    name: 'cluster status',
    summary: 'tell whether the embedded cluster runs, and where',
    load: async () => (await import('./cluster-status.ts')).clusterStatus,
  },
  {
    name: 'cluster kubeconfig',
    summary: 'print the kubeconfig of the embedded cluster',
    load: async () => (await import('./cluster-kubeconfig.ts')).clusterKubeconfig,
  },
  {
    name: 'cluster reset',
    summary: 'stop the embedded cluster and remove its data',
    load: async () => (await import('./cluster-reset.ts')).clusterReset,
  },
  {
    name: 'cluster run',
    summary: 'run the embedded cluster in this process',
    hidden: true,
    load: async () => (await import('./cluster-run.ts')).clusterRun,
  },
  {
    name: 'doctor',
    summary: 'check what this machine can do',
    load: async () => (await import('./doctor.ts')).doctor,
  },
  {
    name: 'explain',
    summary: 'explain the code of an error',
    load: async () => (await import('./explain.ts')).explain,
  },
  {
    name: 'version',
    summary: 'print the version',
    load: async () => (await import('./version.ts')).version,
  },
  {
    name: 'help',
    summary: 'show the commands, or the help of one',
    load: async () => (await import('./help.ts')).help,
  },
]
