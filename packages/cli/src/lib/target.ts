import { connectKube, type KubeClient } from '@fairlead/kube'
import { connectEmbedded } from './embedded/cluster.ts'
import type { Homes } from './homes.ts'

/** Which cluster a command talks to. */
export interface TargetOptions {
  readonly context: string | undefined
  readonly namespace?: string | undefined
  readonly homes: Homes
  readonly env: NodeJS.ProcessEnv
}

/** A client for the context that was named, else for the embedded cluster. */
export function connectTarget({ context, namespace, homes, env }: TargetOptions): KubeClient {
  return context === undefined ? connectEmbedded(homes) : connectKube({ context, namespace, env })
}
