/** One instance of a service, picked for one request. */
export interface PickedEndpoint {
  /** Its base address: `http://10.0.0.7:8080`. */
  readonly url: string
  /** The same parsed, for balancers that have it. */
  readonly base?: URL | undefined
  /** What its Host header and the check of its certificate go by. Default: its address. */
  readonly authority?: string | undefined
  /**
   * Tells the balancer how it went, once. `ignored`: the request ended for reasons that say nothing of the instance, such as a
   * caller that gave up. `status`: of its answer, undefined when there was none.
   */
  done(outcome: 'success' | 'failure' | 'ignored', durationMs: number, status?: number): void
}

/** Chooses an instance for each try of a call, so that a retry may go to another one. */
export interface Balancer {
  /**
   * Throws when there is no instance; waiting for one is up to the balancer, within the time of the call. `tried`: addresses that
   * got this call before, to be avoided where there are others.
   */
  pick(tried?: readonly string[]): PickedEndpoint | Promise<PickedEndpoint>
}
