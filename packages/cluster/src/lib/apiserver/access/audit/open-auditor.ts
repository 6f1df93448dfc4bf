import { readFile } from 'node:fs/promises'
import { parseYaml } from '@fairlead/kube/codec'

import { auditImpossible } from '../../../errors.ts'
import { LineFile } from '../../../line-file.ts'
import { Auditor } from './auditor.ts'
import { metadataPolicy, parseAuditPolicy } from './policy.ts'
import type { AuditPolicy } from './policy.ts'

/** Where an audit log goes and what it holds. */
export interface AuditOptions {
  /** File of JSON lines; one that is there is continued. */
  readonly logFile: string
  /** File of a Policy of audit.k8s.io/v1, YAML or JSON. Default: who did what, without contents. */
  readonly policyFile?: string | undefined
}

/** Opens the audit log. Throws `FAIRLEAD_CLUSTER_AUDIT` for a policy or a file that cannot be used. */
export async function openAuditor(options: AuditOptions, onError: (error: unknown) => void): Promise<Auditor> {
  const { logFile, policyFile } = options
  const policy = policyFile === undefined ? metadataPolicy : await loadAuditPolicy(policyFile)
  try {
    return new Auditor(policy, new LineFile({ path: logFile, onError }))
  } catch (error) {
    throw auditImpossible(logFile, error)
  }
}

/** Reads a policy file. Throws `FAIRLEAD_CLUSTER_AUDIT`. */
async function loadAuditPolicy(file: string): Promise<AuditPolicy> {
  try {
    return parseAuditPolicy(parseYaml(await readFile(file, 'utf8'), file))
  } catch (error) {
    throw auditImpossible(file, error)
  }
}
