import { spawnSync } from 'node:child_process'
import { writeFileSync } from 'node:fs'

import { createKubeconfig, renderKubeconfig } from '@fairlead/kube'

import { loadPki } from '../pki.ts'
import type { ClusterPki } from '../pki.ts'
import type { ApiServer } from './server.ts'

/** Whether tests with the real kubectl have to be skipped, which is said; never in CI. */
export function missesKubectl(): boolean {
  if (process.env['CI'] === 'true' || spawnSync('kubectl', ['version', '--client']).status === 0) return false
  process.stderr.write('skipped: the tests that drive kubectl need kubectl on the PATH\n')
  return true
}

/** Serves by HTTPS with keys kept in `dir`, and writes the administrator's kubeconfig to `file`. */
export async function serveKubectl(
  server: ApiServer,
  dir: string,
  file: string,
): Promise<{ readonly port: number; readonly pki: ClusterPki }> {
  const pki = await loadPki(dir)
  const { certificate: cert, key } = pki.server
  const { port } = await server.listen({ tls: { cert, key, ca: pki.ca } })
  const config = createKubeconfig({
    name: 'test',
    server: `https://127.0.0.1:${port}`,
    certificateAuthority: pki.ca,
    clientCertificate: pki.admin.certificate,
    clientKey: pki.admin.key,
  })
  writeFileSync(file, renderKubeconfig(config), { mode: 0o600 })
  return { port, pki }
}
