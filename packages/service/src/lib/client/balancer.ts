/** One instance of a service, picked for one request. */
export interface PickedEndpoint {
  /** Its base address: `http://10.0.0.7:8080`. */
  readonly url: string
  /**
   * Tells the balancer how it went, once. `ignored`: the request ended for reasons that say nothing of the instance, such as a
   * caller that gave up.
   */
  done(outcome: 'success' | 'failure' | 'ignored', durationMs: number): void
}

/** Chooses an instance for each try of a call, so that a retry may go to another one. */
export interface Balancer {
  /**
   * Throws when there is no instance; waiting for one is up to the balancer, within the time of the call.
   */
  pick(): PickedEndpoint | Promise<PickedEndpoint>
}
