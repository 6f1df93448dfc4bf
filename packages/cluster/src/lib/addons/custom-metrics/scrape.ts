import type { ScrapeTarget } from './scrape-target.ts'

// An import would bring all of fetch along: see scripts/check-imports.ts.
const { request } = process.getBuiltinModule('node:http')

/** More than any service tells; a pod that tells more has no metrics. */
const mostBytes = 4 << 20

/** The text a pod answers with; rejects when it is no 200, too long, or late. */
export function scrape({ host, port, path }: ScrapeTarget, deadlineMs: number): Promise<string> {
  const { promise, resolve, reject } = Promise.withResolvers<string>()
  const headers = { accept: 'text/plain;version=0.0.4;q=1,*/*;q=0.1' }
  const sent = request({ host, port, path, headers, agent: false }, (response) => {
    if (response.statusCode !== 200) return void sent.destroy(new Error(`status ${response.statusCode}`))
    const chunks: Buffer[] = []
    let size = 0
    response.on('data', (chunk: Buffer) => {
      size += chunk.length
      if (size > mostBytes) sent.destroy(new Error(`more than ${mostBytes} bytes`))
      else chunks.push(chunk)
    })
    response.on('end', () => resolve(Buffer.concat(chunks).toString('utf8')))
    response.on('error', reject)
  })
  const timer = setTimeout(() => sent.destroy(new Error('no answer in time')), deadlineMs)
  sent.on('error', reject)
  sent.on('close', () => {
    clearTimeout(timer)
    reject(new Error('the connection ended early'))
  })
  sent.end()
  return promise
}
