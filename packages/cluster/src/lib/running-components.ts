import type { Component } from './apiserver/component-status.ts'

/** The components of a cluster as long as they run, for whoever asks how they are. */
export class RunningComponents {
  readonly #problems: Map<string, string | undefined>

  constructor(names: readonly string[]) {
    this.#problems = new Map(names.map((name) => [name, `${name} is not running yet`]))
  }

  get all(): readonly Component[] {
    return [...this.#problems.keys()].map((name) => ({ name, problem: () => this.#problems.get(name) }))
  }

  /** Takes a component for well until `run` ends; how it ended is the caller's business too. */
  follow(name: string, run: Promise<void>): void {
    this.#problems.set(name, undefined)
    run.then(
      () => this.#problems.set(name, `${name} has ended`),
      (error: unknown) => this.#problems.set(name, error instanceof Error ? error.message : String(error)),
    )
  }
}
