import type { Store } from '../storage/store.ts'
import type { Access } from './access/access.ts'
import type { WriteGuard } from './access/write-guard.ts'
import type { AdmittedRegistry } from './admission/admitted-registry.ts'
import type { ApiServices } from './aggregation/api-services.ts'
import type { Catalogue } from './catalogue.ts'
import type { Component } from './component-status.ts'
import type { FanOut } from './fan-out.ts'
import type { Kubelet } from './kubelet.ts'
import type { RequestMetrics } from './metrics/request-metrics.ts'
import type { OpenApi } from './openapi/document.ts'

/** What the handler stands on. */
export interface HandlerContext {
  readonly store: Store
  readonly fanOut: FanOut
  readonly registry: AdmittedRegistry
  readonly access: Access
  readonly guard: WriteGuard
  /** Whether pods are of service accounts that must be there. */
  readonly serviceAccounts: boolean
  readonly catalogue: Catalogue
  readonly openApi: OpenApi
  readonly apiServices: ApiServices
  readonly metrics: RequestMetrics
  /** What runs beside the server, for `kubectl get componentstatuses`. */
  readonly components: readonly Component[]
  readonly findKubelet: (nodeName: string) => Promise<Kubelet>
  /** Told of errors that are no answer but a fault of ours. */
  readonly onError: (error: unknown) => void
}
