import { openLayout } from '@fairlead/oci/layout'
import { createAdmission } from '@fairlead/oci/sign'
import type { RunningCluster } from '../embedded/cluster.ts'
import { usage } from '../errors.ts'
import type { Homes } from '../homes.ts'
import { openClient } from '../image/registry.ts'
import { loadImagePolicy } from '../image/signing.ts'
import type { BuiltService } from './build-services.ts'

/** A cluster that runs keeps the policy it was started with. Throws FAIRLEAD_CLI_USAGE where another is asked for. */
export function checkPolicyInUse(asked: string | undefined, cluster: RunningCluster | undefined): void {
  const used = cluster?.process.choices?.imagePolicy
  if (asked === undefined || !cluster || asked === used) return
  const state = used === undefined ? 'without an image policy' : `with the image policy ${used}`
  throw usage(
    `Cannot use "--image-policy ${asked}": the cluster runs ${state}`,
    'Run fairlead cluster stop first; the next start takes it',
  )
}

/** Holds built images against the policy of the cluster before anything is applied. Throws FAIRLEAD_OCI_IMAGE_REFUSED. */
export async function checkAllowed(
  built: readonly BuiltService[],
  policyFile: string | undefined,
  { homes, env }: { homes: Homes; env: NodeJS.ProcessEnv },
): Promise<void> {
  if (policyFile === undefined) return
  const policy = await loadImagePolicy(policyFile, env)
  const admit = createAdmission({ policy, layout: await openLayout(homes.images), client: openClient(env) })
  for (const { image } of built) await admit(image.reference, image.digest)
}
