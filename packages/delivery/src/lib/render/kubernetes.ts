import type { KubeObject, ObjectMeta } from '@fairlead/kube/types'
import type { DeploymentSpec } from '@fairlead/kube/types/apps-v1'
import type { Container, EnvVar, PodSpec, ServiceSpec } from '@fairlead/kube/types/core-v1'
import type { App, AppService, EnvValue } from '../app/definition.ts'
import { renderBacking, renderUsed } from './backing.ts'
import { objectLabels, selectorLabels } from './labels.ts'
import { portName, renderProbes } from './probes.ts'
import { configMapName, renderVolumes } from './volumes.ts'

/** Port at which a service that is not public is reached inside the cluster: `http://<name>`. */
const servicePort = 80
/** "nonroot" of the distroless images, and of ours. */
const userId = 65532

/**
 * The objects of an app for any Kubernetes: per service a ConfigMap (when it has `config`), a Service (of type
 * LoadBalancer when it is public) and a Deployment that meets the "restricted" Pod Security Standard; first what `backing` names,
 * as {@link renderBacking} tells.
 * `images` maps the name of each service to an image reference. Pure; the same input gives the same objects.
 */
export function renderKubernetes(app: App, images: Readonly<Record<string, string>>): KubeObject[] {
  const objects = (render: (service: AppService) => KubeObject | undefined): KubeObject[] =>
    app.services.map(render).filter((object) => object !== undefined)
  return [
    ...renderBacking(app),
    ...objects((service) => renderConfigMap(app, service)),
    ...objects((service) => renderService(app, service)),
    ...objects((service) => renderDeployment(app, service, images[service.name] ?? service.name)),
  ]
}

function renderConfigMap(app: App, service: AppService): KubeObject | undefined {
  if (Object.keys(service.config).length === 0) return undefined
  const metadata = renderMetadata(app, service, configMapName(service))
  return { apiVersion: 'v1', kind: 'ConfigMap', metadata, data: { ...service.config } }
}

function renderService(app: App, service: AppService): KubeObject {
  const spec: ServiceSpec = {
    type: service.public === undefined ? 'ClusterIP' : 'LoadBalancer',
    selector: selectorLabels(app, service),
    ports: [{ name: portName, port: service.public ?? servicePort, targetPort: portName, appProtocol: 'http' }],
  }
  return { apiVersion: 'v1', kind: 'Service', metadata: renderMetadata(app, service, service.name), spec }
}

function renderDeployment(app: App, service: AppService, image: string): KubeObject {
  const spec: DeploymentSpec = {
    replicas: service.replicas,
    selector: { matchLabels: selectorLabels(app, service) },
    // Never fewer pods than asked for: a new one is ready before an old one goes.
    strategy: { type: 'RollingUpdate', rollingUpdate: { maxSurge: 1, maxUnavailable: 0 } },
    revisionHistoryLimit: 5,
    template: {
      metadata: { labels: objectLabels(app, service) },
      spec: renderPod(app, service, image),
    },
  }
  return { apiVersion: 'apps/v1', kind: 'Deployment', metadata: renderMetadata(app, service, service.name), spec }
}

function renderPod(app: App, service: AppService, image: string): PodSpec {
  const { volumes, volumeMounts } = renderVolumes(service)
  return {
    automountServiceAccountToken: false,
    enableServiceLinks: false,
    terminationGracePeriodSeconds: service.terminationGracePeriodSeconds,
    securityContext: {
      runAsNonRoot: true,
      runAsUser: userId,
      runAsGroup: userId,
      fsGroup: userId,
      seccompProfile: { type: 'RuntimeDefault' },
    },
    containers: [renderContainer(app, service, image, volumeMounts)],
    volumes,
  }
}

function renderContainer(
  app: App,
  service: AppService,
  image: string,
  volumeMounts: Container['volumeMounts'],
): Container {
  return {
    name: service.name,
    image,
    imagePullPolicy: 'IfNotPresent',
    ports: [{ name: portName, containerPort: service.port }],
    env: [
      { name: 'PORT', value: String(service.port) },
      ...renderUsed(app, service),
      ...Object.entries(service.env).map(([name, value]) => renderEnv(name, value)),
    ],
    resources: { requests: { ...service.resources.requests }, limits: { ...service.resources.limits } },
    ...renderProbes(service.health),
    securityContext: {
      allowPrivilegeEscalation: false,
      readOnlyRootFilesystem: true,
      capabilities: { drop: ['ALL'] },
    },
    volumeMounts,
  }
}

function renderEnv(name: string, value: EnvValue): EnvVar {
  if (typeof value !== 'object') return { name, value: String(value) }
  const { key } = value
  return 'secret' in value
    ? { name, valueFrom: { secretKeyRef: { name: value.secret, key } } }
    : { name, valueFrom: { configMapKeyRef: { name: value.configMap, key } } }
}

function renderMetadata(app: App, service: AppService, name: string): ObjectMeta {
  return {
    name,
    ...(app.namespace !== undefined && { namespace: app.namespace }),
    labels: objectLabels(app, service),
  }
}
