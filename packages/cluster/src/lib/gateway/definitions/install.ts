import { isAlreadyExists, isNotFound } from '@fairlead/kube'
import type { KubeClient } from '@fairlead/kube'
import type { CustomResourceDefinition } from '@fairlead/kube/types/apiextensions-v1'
import type { IngressClass } from '@fairlead/kube/types/networking-v1'
import { className, controllerName } from '../compile/ingress.ts'
import { backendTlsPolicyKind } from './backend-tls-policy.ts'
import { bundleAnnotation, bundleVersion, renderDefinition } from './definition.ts'
import { gatewayApiKinds } from './gateway-api.ts'
import { istioKinds } from './istio.ts'

/** Said by the definitions of Gateway API itself. */
const originalAnnotation = 'gateway.networking.k8s.io/bundle-version'

/** The definitions of Gateway API and Istio that the gateway reads. */
function renderDefinitions(): CustomResourceDefinition[] {
  return [...gatewayApiKinds, backendTlsPolicyKind, ...istioKinds].map(renderDefinition)
}

/**
 * Makes what is missing, and renews what an older Fairlead made. Definitions that somebody else installed, also over ours,
 * stay as they are.
 */
export async function installDefinitions(client: KubeClient): Promise<void> {
  const definitions = client.resource('apiextensions.k8s.io/v1/CustomResourceDefinition')
  await Promise.all(
    renderDefinitions().map(async (wanted) => {
      const name = wanted.metadata?.name ?? ''
      const known = await definitions.get(name).catch(ignore(isNotFound))
      if (known === undefined) await definitions.create(wanted).catch(ignore(isAlreadyExists))
      else if (isOlder(known)) {
        await definitions.update({ ...wanted, metadata: { ...known.metadata, ...wanted.metadata } })
      }
    }),
  )
}

function isOlder({ metadata }: CustomResourceDefinition): boolean {
  const { [bundleAnnotation]: ours, [originalAnnotation]: original } = metadata?.annotations ?? {}
  return ours !== undefined && ours !== bundleVersion && original === undefined
}

/** The classes by which objects ask for this gateway; Ingresses that name none get it, until somebody says otherwise. */
export async function installClasses(client: KubeClient): Promise<void> {
  const ingressClass: IngressClass = {
    apiVersion: 'networking.k8s.io/v1',
    kind: 'IngressClass',
    metadata: { name: className, annotations: { 'ingressclass.kubernetes.io/is-default-class': 'true' } },
    spec: { controller: controllerName },
  }
  const gatewayClass = {
    apiVersion: 'gateway.networking.k8s.io/v1',
    kind: 'GatewayClass',
    metadata: { name: className },
    spec: { controllerName, description: 'The gateway of the Fairlead cluster' },
  }
  await client.resource('networking.k8s.io/v1/IngressClass').create(ingressClass).catch(ignore(isAlreadyExists))
  await client.object(gatewayClass.apiVersion, gatewayClass.kind).create(gatewayClass).catch(ignore(isAlreadyExists))
}

function ignore(isExpected: (error: unknown) => boolean): (error: unknown) => undefined {
  return (error) => {
    if (!isExpected(error)) throw error
    return undefined
  }
}
