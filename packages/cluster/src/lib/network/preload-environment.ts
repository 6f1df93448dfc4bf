import { join } from 'node:path'
import { fileURLToPath } from 'node:url'

/** Where the Service table of a process-mode cluster is kept; `dir` is the cluster's network directory. */
export function serviceTablePath(dir: string): string {
  return join(dir, 'services.json')
}

/** The preload module, as a file: pods load it from here, so it stays one dependency-free CommonJS file. */
const preloadPath: string = fileURLToPath(new URL('./preload.cjs', import.meta.url))

/** The environment that makes a Node program a pod of a process-mode cluster. */
export function preloadEnvironment(pod: { ip: string; namespace: string; table: string }): Record<string, string> {
  return {
    // Quoted: NODE_OPTIONS splits at spaces, and a home directory may have one.
    NODE_OPTIONS: `--require "${preloadPath.replaceAll('\\', '\\\\').replaceAll('"', '\\"')}"`,
    FAIRLEAD_POD_IP: pod.ip,
    FAIRLEAD_POD_NAMESPACE: pod.namespace,
    FAIRLEAD_SERVICE_TABLE: pod.table,
  }
}
