/**
 * W3C Trace Context: joins the caller's trace and hands it on.
 *
 * ```ts
 * import { joinTrace, propagationHeaders, runInScope } from '@fairlead/service/trace'
 *
 * const trace = joinTrace('00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01', undefined)
 * runInScope({ requestId: 'r-1', trace }, () => console.log(propagationHeaders()))
 * ```
 */
export { currentScope, propagationHeaders, runInScope } from './lib/trace/current.ts'
export type { RequestScope } from './lib/trace/current.ts'
export { joinTrace, parseTraceparent, renderTraceparent } from './lib/trace/traceparent.ts'
export type { TraceContext } from './lib/trace/traceparent.ts'
