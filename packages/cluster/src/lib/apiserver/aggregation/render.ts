import type { KubeObject } from '@fairlead/kube/types'
import type { APIService } from '@fairlead/kube/types/apiregistration-v1'

import { embeddedPriorities, serviceNameOf } from './embedded.ts'
import type { EmbeddedVersion } from './embedded.ts'
import type { FrontProxy } from './forward.ts'
import { groupPriority, isBuiltInGroup } from './priorities.ts'

type Service = KubeObject & APIService

/** The label of APIServices that this server writes for itself. */
export const automanaged = 'kube-aggregator.kubernetes.io/automanaged'

/** The APIService of a group-version this server answers for; `index` is its place among those of its group. */
export function renderLocal(group: string, version: string, index: number): Service {
  const isBuiltIn = isBuiltInGroup(group)
  const spec = {
    ...(group === '' ? {} : { group }),
    version,
    groupPriorityMinimum: groupPriority(group),
    versionPriority: isBuiltIn ? 15 : Math.max(100 - index, 1),
  }
  return {
    apiVersion: 'apiregistration.k8s.io/v1',
    kind: 'APIService',
    metadata: { name: `${version}.${group}`, labels: { [automanaged]: isBuiltIn ? 'onstart' : 'true' } },
    spec,
  }
}

/** Whoever installs a server of metrics of their own takes it over by giving it a service. */
export function renderEmbedded({ group, version }: EmbeddedVersion): Service {
  return {
    apiVersion: 'apiregistration.k8s.io/v1',
    kind: 'APIService',
    metadata: { name: serviceNameOf({ group, version }), labels: { [automanaged]: 'true' } },
    spec: { group, version, ...embeddedPriorities },
  }
}

/** What servers behind this one are told of whom they may believe. */
export function renderAuthorities({ ca, clientCa }: FrontProxy): Record<string, string> {
  return {
    ...(clientCa === undefined ? {} : { 'client-ca-file': clientCa }),
    'requestheader-allowed-names': '["front-proxy-client"]',
    'requestheader-client-ca-file': ca,
    'requestheader-extra-headers-prefix': '["X-Remote-Extra-"]',
    'requestheader-group-headers': '["X-Remote-Group"]',
    'requestheader-username-headers': '["X-Remote-User"]',
    'requestheader-uid-headers': '["X-Remote-Uid"]',
  }
}
