import type { Duplex } from 'node:stream'
import type { KubeObject } from '@fairlead/kube/types'
import type { Pod } from '@fairlead/kube/types/core-v1'

import type { ApiRequest, ApiResponse } from '../exchange.ts'
import type { Kubelet } from '../kubelet.ts'
import { chooseContainer } from '../pod-log.ts'
import { isTrue } from '../route.ts'
import { badRequest, internalError, unavailable } from '../status.ts'
import { commandOffer, runCommandOn } from './command.ts'
import type { CommandOptions } from './command.ts'
import { negotiateUpgrade } from './negotiate.ts'
import { forwardOffer, forwardPorts, parsePorts } from './port-forward.ts'

type FindKubelet = (nodeName: string) => Promise<Kubelet>

/** Serves `pods/exec` and `pods/attach`. */
export async function serveCommand(
  kind: 'exec' | 'attach',
  pod: KubeObject & Pod,
  request: ApiRequest,
  findKubelet: FindKubelet,
): Promise<ApiResponse> {
  const { query } = request
  const name = chooseContainer(pod, query.get('container') ?? '')
  const args = query.getAll('command')
  const options = readOptions(query)
  if (kind === 'exec' && args.length === 0) throw badRequest('you must specify at least one command for the container')
  const kubelet = await reachNode(pod, findKubelet)
  const container = await refuse(kubelet.openContainer({ ...targetOf(pod), container: name }))
  const negotiated = negotiateUpgrade(request, commandOffer)
  const { stdin, tty } = options
  return {
    status: 101,
    headers: negotiated.headers,
    body: {
      switchTo: (connection) =>
        runCommandOn(connection, negotiated, options, () =>
          kind === 'exec' ? container.exec({ args, stdin, tty }) : container.attach({ stdin }),
        ),
    },
  }
}

/** Serves `pods/portforward`. */
export async function servePortForward(
  pod: KubeObject & Pod,
  request: ApiRequest,
  findKubelet: FindKubelet,
): Promise<ApiResponse> {
  const kubelet = await reachNode(pod, findKubelet)
  const target = await refuse(kubelet.openPod(targetOf(pod)))
  const negotiated = negotiateUpgrade(request, forwardOffer)
  const ports = parsePorts(request.query)
  if (negotiated.protocol.includes('channel.k8s.io') && ports.length === 0)
    throw badRequest('query parameter "ports" is required')
  const body = { switchTo: (connection: Duplex) => forwardPorts(connection, negotiated, ports, target) }
  return { status: 101, headers: negotiated.headers, body }
}

/** Streams as upstream's kubelet reads them: errors of a terminal come with its output. */
function readOptions(query: URLSearchParams): CommandOptions {
  const [stdin, stdout, stderr, tty] = ['stdin', 'stdout', 'stderr', 'tty'].map((name) => isTrue(query.get(name)))
  if (!stdin && !stdout && !stderr) throw badRequest('you must specify at least 1 of stdin, stdout, stderr')
  return { stdin: stdin ?? false, stdout: stdout ?? false, stderr: (stderr ?? false) && !tty, tty: tty ?? false }
}

async function reachNode(pod: KubeObject & Pod, findKubelet: FindKubelet): Promise<Kubelet> {
  const nodeName = pod.spec?.nodeName ?? ''
  if (nodeName === '') throw badRequest(`pod ${pod.metadata.name ?? ''} does not have a host assigned`)
  try {
    return await findKubelet(nodeName)
  } catch (error) {
    throw unavailable(`Cannot reach node "${nodeName}": ${error instanceof Error ? error.message : String(error)}`)
  }
}

function targetOf({ metadata }: KubeObject & Pod): { namespace: string; name: string; uid: string } {
  const { namespace = '', name = '', uid = '' } = metadata
  return { namespace, name, uid }
}

/** What the node refuses, in the words clients know. */
async function refuse<T>(opening: Promise<T>): Promise<T> {
  try {
    return await opening
  } catch (error) {
    throw internalError(`unable to upgrade connection: ${error instanceof Error ? error.message : String(error)}`)
  }
}
