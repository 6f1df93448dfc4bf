/**
 * Runs tasks at the same time. When one fails the others are aborted through the signal they were given, and the first
 * error is thrown once all have ended: nothing goes on behind the back of the caller.
 */
export async function settleTogether<A, B>(
  signal: AbortSignal,
  tasks: readonly [(signal: AbortSignal) => Promise<A>, (signal: AbortSignal) => Promise<B>],
): Promise<[A, B]> {
  const controller = new AbortController()
  const scope = AbortSignal.any([signal, controller.signal])
  const guard = async <T>(task: (signal: AbortSignal) => Promise<T>): Promise<T> => {
    try {
      return await task(scope)
    } catch (error) {
      controller.abort(error)
      throw error
    }
  }
  const [first, second] = await Promise.allSettled([guard(tasks[0]), guard(tasks[1])])
  if (first.status === 'fulfilled' && second.status === 'fulfilled') return [first.value, second.value]
  throw signal.aborted ? signal.reason : controller.signal.reason
}
