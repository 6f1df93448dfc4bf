import type { PolicyRule } from '@fairlead/kube/types/rbac-v1'

import { parseRule } from '../rbac/role-facts.ts'

/** What every node may do, whichever it is; the rest depends on the pods that are bound to it. */
export const nodeRules: readonly PolicyRule[] = [
  'create | authentication.k8s.io | tokenreviews',
  'create | authorization.k8s.io | subjectaccessreviews localsubjectaccessreviews',
  'get list watch | core | services',
  'create update patch | core events.k8s.io | events',
  'get | core | endpoints',
  'create get list watch | certificates.k8s.io | certificatesigningrequests',
  'get list watch | storage.k8s.io | csidrivers',
  'get list watch | node.k8s.io | runtimeclasses',
].map(parseRule)
