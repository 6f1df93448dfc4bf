import type { FieldInfo } from '../types/notation.ts'

/**
 * Numbers and booleans that are plain values in Go, left out of JSON when zero. Protobuf always carries them. In the
 * other fields (`replicas`, `runAsUser`, `automountServiceAccountToken`...) a zero was written by someone and counts.
 * Read from the Go types of 1.36.
 */
const plain = new Set(
  `active allowWatchBookmarks authenticated availableReplicas chapAuthDiscovery chapAuthSession clusterScope code count
currentReplicas denied deprecated deprecatedCount exclusiveMaximum exclusiveMinimum failed failureThreshold follow
fullyLabeledReplicas generation globalDefault healthCheckNodePort hostIPC hostNetwork hostPID hostPort
initialDelaySeconds insecureSkipTLSVerify insecureSkipTLSVerifyBackend limit minReadySeconds nodePort nullable number
numberAvailable numberUnavailable observedGeneration partition paused periodSeconds preserveUnknownFields previous
priority publishNotReadyAddresses readOnly readyReplicas replicas retryAfterSeconds signal sizeBytes sslEnabled stderr
stdin stdinOnce stdout succeeded successThreshold timeoutSeconds timestamps tty unavailableReplicas uniqueItems
unschedulable updatedNumberScheduled updatedReplicas watch x-kubernetes-embedded-resource
x-kubernetes-int-or-string`.split(/\s+/),
)

/** Strings that are pointers in Go, for which empty is an answer: no storage class, as against the default one. */
const emptyCounts = new Set(
  `$ref appProtocol cachingMode capacityKey completionMode currentVolumeAttributesClassName deprecationWarning
distinctAttribute endpointsNamespace extendedResourceName failedIndexes failurePolicy fsGroupChangePolicy fsGroupPolicy
gmsaCredentialSpec gmsaCredentialSpecName holderIdentity hostnameOverride ingressClassName initiatorName
internalTrafficPolicy ipFamilyPolicy ipMode labelSelectorPath loadBalancerClass localhostProfile managedBy
matchAttribute matchPolicy mountPropagation nodeAffinityPolicy nodeTaintsPolicy parameterNotFoundAction pathType
persistentVolumeName podGroupName podReplacementPolicy preemptionPolicy preferredHolder procMount propagationPolicy
reclaimPolicy recursiveReadOnly resourceClaimName resourceClaimTemplateName runAsUserName runtimeClassName scope
seLinuxChangePolicy secretNamespace selectPolicy service shareID sideEffects stopSignal storageClassName strategy stream
string succeededIndexes supplementalGroupsPolicy timeZone trafficDistribution unhealthyPodEvictionPolicy
volumeAttributesClassName volumeBindingMode volumeMode x-kubernetes-list-type x-kubernetes-map-type
zone`.split(/\s+/),
)

/** Names that are plain in some types of Go and pointers in others: the types, by the end of their definition. */
const pointersIn: ReadonlyMap<string, readonly string[]> = new Map(
  Object.entries({
    apiGroup: 'TypedLocalObjectReference TypedObjectReference IngressClassParametersReference',
    containerName: 'PodFailurePolicyOnExitCodesRequirement',
    count: 'VolumeNodeResources',
    error: 'PortStatus IngressPortStatus',
    fsType: 'AzureDiskVolumeSource CSIVolumeSource LocalVolumeSource',
    hostname: 'discovery.v1.Endpoint',
    kind: 'AzureDiskVolumeSource',
    message: 'ResourceHealth',
    name: 'ClusterTrustBundleProjection discovery.v1.EndpointPort',
    namespace: 'TypedObjectReference IngressClassParametersReference',
    nodeName: 'EndpointAddress discovery.v1.Endpoint resource.v1.Device ResourceSliceSpec',
    observedGeneration: 'HorizontalPodAutoscalerStatus',
    partition: 'RollingUpdateStatefulSetStrategy',
    path: 'ServiceReference',
    priority: 'PodSpec',
    protocol: 'discovery.v1.EndpointPort NetworkPolicyPort',
    readOnly: 'AzureDiskVolumeSource core.v1.CSIVolumeSource',
    reason: 'admissionregistration.v1.Validation ValidationRule',
    reinvocationPolicy: 'MutatingWebhook',
    replicas: 'DeploymentSpec ReplicaSetSpec StatefulSetSpec ReplicationControllerSpec',
    resourceVersion: 'Preconditions',
    restartPolicy: 'core.v1.Container EphemeralContainer',
    signerName: 'ClusterTrustBundleProjection',
    timeoutSeconds: 'MutatingWebhook ValidatingWebhook ClientIPConfig ListOptions',
    type: 'HostPathVolumeSource',
    uid: 'Preconditions',
    url: 'WebhookClientConfig',
    value: 'PodDNSConfigOption',
    version: 'DeviceAttribute',
  }).map(([name, types]) => [name, types.split(' ').map((type) => `.${type}`)]),
)

/**
 * Fields that a schema does not require and Go always writes (no `omitempty`), and lists that an API tells from none, by
 * the end of their definition.
 */
const alwaysThere: ReadonlyMap<string, readonly string[]> = new Map(
  Object.entries({
    apiGroup: 'RoleRef',
    conditions: 'AllocatedDeviceStatus CustomResourceDefinitionStatus',
    currentMetrics: 'HorizontalPodAutoscalerStatus',
    endpoints: 'EndpointSlice',
    name: 'NodeRuntimeHandler',
    names: 'ContainerImage',
    namespaces: 'ResourcePolicyRule',
    policies: 'HPAScalingRules',
    ports: 'EndpointSlice',
    reportingComponent: 'core.v1.Event',
    reportingInstance: 'core.v1.Event',
    requests: 'DeviceClaim',
    rules: 'rbac.v1.Role ClusterRole',
    serviceName: 'StatefulSetSpec',
    sources: 'ProjectedVolumeSource',
    status: 'PodFailurePolicyOnPodConditionsPattern',
    storedVersions: 'CustomResourceDefinitionStatus',
    topologyKeys: 'CSINodeDriver',
  }).map(([name, types]) => [name, types.split(' ').map((type) => `.${type}`)]),
)

/**
 * Whether a value in a field of `definition` is the zero that Go leaves out of JSON (`omitempty` on a plain value), which
 * nobody can tell from one that was not given: a scalar, `[]` of a list or `{}` of a map. False for objects and for zeros
 * that are pointers in Go.
 */
export function isZeroAbsent(definition: string, field: FieldInfo, value: unknown): boolean {
  if (field.required || isOneOf(alwaysThere, definition, field)) return false
  if (field.list || field.map) return typeof value === 'object' && value !== null && Object.keys(value).length === 0
  if (value !== '' && value !== 0 && value !== false) return false
  if (isOneOf(pointersIn, definition, field)) return false
  if (value === '') return field.type !== 'intOrString' && !emptyCounts.has(field.name)
  return plain.has(field.name)
}

function isOneOf(table: ReadonlyMap<string, readonly string[]>, definition: string, { name }: FieldInfo): boolean {
  return table.get(name)?.some((type) => definition.endsWith(type)) === true
}
