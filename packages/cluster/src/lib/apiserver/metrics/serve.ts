import type { ApiResponse } from '../exchange.ts'

/** Answers `/metrics`: what `render` gives, and what Prometheus knows of every process. */
export async function serveMetrics(render: () => string): Promise<ApiResponse> {
  // Most servers are never asked: what it takes is loaded when one is.
  const { addProcessMetrics, createMetrics, metricsContentType } = await import('@fairlead/service/metrics')
  const ofProcess = createMetrics()
  const remove = addProcessMetrics(ofProcess)
  try {
    const text = `${render()}${ofProcess.render()}`
    return { status: 200, headers: { 'content-type': metricsContentType }, body: { pieces: [Buffer.from(text)] } }
  } finally {
    remove()
  }
}
