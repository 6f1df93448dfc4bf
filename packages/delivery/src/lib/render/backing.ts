import type { KubeObject, ObjectMeta } from '@fairlead/kube/types'
import type { StatefulSetSpec } from '@fairlead/kube/types/apps-v1'
import type { Container, EnvVar, PodSpec, Probe, ServiceSpec } from '@fairlead/kube/types/core-v1'
import type { App, AppBacking, AppService } from '../app/definition.ts'
import { accountOf, credentialsName, usedVariables } from '../backing/credentials.ts'
import { ENGINES } from '../backing/engines.ts'
import { objectLabels, selectorLabels } from './labels.ts'

/** Variable with the password, for texts that hold it: Kubernetes fills in `$(NAME)`. */
const passwordVariable = 'BACKING_PASSWORD'
const passwordPlace = `$(${passwordVariable})`

/**
 * The objects of the databases and brokers of an app: a Service and a StatefulSet with a volume for each. They read the Secret
 * of `renderCredentials`, which is made once and by whoever delivers, not rendered anew. Pure.
 */
export function renderBacking(app: App): KubeObject[] {
  return (app.backing ?? []).flatMap((backing) => [renderService(app, backing), renderStatefulSet(app, backing)])
}

/** The variables by which a service reaches what it uses, out of their Secrets. */
export function renderUsed(app: App, service: AppService): EnvVar[] {
  return usedVariables(app, service).map(({ name, backing, field }) => ({
    name,
    valueFrom: { secretKeyRef: { name: credentialsName(backing), key: field } },
  }))
}

function renderService(app: App, backing: AppBacking): KubeObject {
  const { port } = ENGINES[backing.engine]
  const spec: ServiceSpec = {
    type: 'ClusterIP',
    selector: selectorLabels(app, backing),
    ports: [{ name: backing.engine, port, targetPort: backing.engine }],
  }
  return { apiVersion: 'v1', kind: 'Service', metadata: renderMetadata(app, backing), spec }
}

function renderStatefulSet(app: App, backing: AppBacking): KubeObject {
  const spec: StatefulSetSpec = {
    replicas: 1,
    serviceName: backing.name,
    // In order, a pod that never became ready would stay as it is whatever is delivered to mend it.
    podManagementPolicy: 'Parallel',
    selector: { matchLabels: selectorLabels(app, backing) },
    template: { metadata: { labels: objectLabels(app, backing) }, spec: renderPod(backing) },
    volumeClaimTemplates: [
      {
        metadata: { name: 'data', labels: selectorLabels(app, backing) },
        spec: { accessModes: ['ReadWriteOnce'], resources: { requests: { storage: backing.storage } } },
      },
    ],
  }
  return { apiVersion: 'apps/v1', kind: 'StatefulSet', metadata: renderMetadata(app, backing), spec }
}

function renderPod(backing: AppBacking): PodSpec {
  const { scratch = [] } = ENGINES[backing.engine]
  return {
    automountServiceAccountToken: false,
    enableServiceLinks: false,
    // A database that writes down what it has in memory takes its time.
    terminationGracePeriodSeconds: 60,
    securityContext: {
      runAsNonRoot: true,
      runAsUser: backing.user,
      runAsGroup: backing.user,
      fsGroup: backing.user,
      // Databases refuse data whose modes somebody changed.
      fsGroupChangePolicy: 'OnRootMismatch',
      seccompProfile: { type: 'RuntimeDefault' },
    },
    containers: [renderContainer(backing)],
    volumes: scratch.map((path) => ({ name: volumeName(path), emptyDir: {} })),
  }
}

function renderContainer(backing: AppBacking): Container {
  const { port, data, env, clusterEnv, command, health, scratch } = ENGINES[backing.engine]
  const account = accountOf(backing, passwordPlace)
  const args = command?.(account)
  const needsVariable = args?.some((text) => text.includes(passwordPlace)) === true
  const probe: Probe = { exec: { command: [...health(account)] }, timeoutSeconds: 5 }
  const password = { secretKeyRef: { name: credentialsName(backing), key: 'password' } }
  return {
    name: backing.name,
    image: backing.image,
    imagePullPolicy: 'IfNotPresent',
    ...(args === undefined ? {} : { args: [...args] }),
    ports: [{ name: backing.engine, containerPort: port }],
    env: [
      ...(needsVariable ? [{ name: passwordVariable, valueFrom: password }] : []),
      ...Object.entries({ ...env?.(account), ...clusterEnv?.(backing.version) }).map(([name, value]): EnvVar =>
        value === passwordPlace ? { name, valueFrom: password } : { name, value },
      ),
    ],
    resources: { requests: { ...backing.resources.requests }, limits: { ...backing.resources.limits } },
    startupProbe: { ...probe, periodSeconds: 1, failureThreshold: 120 },
    readinessProbe: { ...probe, periodSeconds: 5, failureThreshold: 3 },
    securityContext: {
      allowPrivilegeEscalation: false,
      ...(scratch !== undefined && { readOnlyRootFilesystem: true }),
      capabilities: { drop: ['ALL'] },
    },
    volumeMounts: [
      { name: 'data', mountPath: data(backing.version) },
      ...(scratch ?? []).map((mountPath) => ({ name: volumeName(mountPath), mountPath })),
    ],
  }
}

function volumeName(path: string): string {
  return path.slice(1).replaceAll('/', '-')
}

function renderMetadata(app: App, backing: AppBacking): ObjectMeta {
  return {
    name: backing.name,
    ...(app.namespace !== undefined && { namespace: app.namespace }),
    labels: objectLabels(app, backing),
  }
}
