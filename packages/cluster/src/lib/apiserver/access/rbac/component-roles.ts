import type { RoleFacts } from './role-facts.ts'

/**
 * What Fairlead's own parts may do beyond the roles upstream has for the same parts: they write a status by patch where
 * upstream's replace it, and the service network also does the work of a cloud's load balancer and of the DNS add-on.
 */
export const componentRoles: readonly RoleFacts[] = [
  {
    name: 'fairlead:controller:deployment-controller',
    rules: ['patch | apps | deployments deployments/status'],
    boundTo: ['kube-system/deployment-controller'],
  },
  {
    name: 'fairlead:controller:replicaset-controller',
    rules: ['patch | apps | replicasets replicasets/status', 'get | core | pods'],
    boundTo: ['kube-system/replicaset-controller'],
  },
  {
    name: 'fairlead:controller:replication-controller',
    rules: ['patch | core | replicationcontrollers/status'],
    boundTo: ['kube-system/replication-controller'],
  },
  {
    name: 'fairlead:controller:namespace-controller',
    rules: ['patch | core | namespaces/status'],
    boundTo: ['kube-system/namespace-controller'],
  },
  {
    name: 'fairlead:controller:certificate-controller',
    rules: ['patch | certificates.k8s.io | certificatesigningrequests/status'],
    boundTo: ['kube-system/certificate-controller'],
  },
  {
    name: 'fairlead:service-network',
    rules: ['patch update | core | services/status'],
    boundTo: ['User:system:kube-proxy'],
  },
  {
    name: 'fairlead:network-policy',
    rules: ['list watch | networking.k8s.io | networkpolicies', 'list watch | core | namespaces pods'],
    boundTo: ['User:system:kube-proxy'],
  },
  {
    name: 'fairlead:dns',
    namespace: 'kube-system',
    rules: ['create get | core | services', 'create get patch | discovery.k8s.io | endpointslices'],
    boundTo: ['User:system:kube-proxy'],
  },
  {
    name: 'fairlead:gateway',
    rules: [
      'list watch | networking.k8s.io | ingressclasses ingresses',
      'create | networking.k8s.io | ingressclasses',
      'patch | networking.k8s.io | ingresses/status',
      'list watch | gateway.networking.k8s.io | backendtlspolicies gatewayclasses gateways grpcroutes httproutes referencegrants',
      'create | gateway.networking.k8s.io | gatewayclasses',
      'patch | gateway.networking.k8s.io | backendtlspolicies/status gatewayclasses/status gateways/status grpcroutes/status httproutes/status',
      'list watch | networking.istio.io | destinationrules gateways virtualservices',
      'list watch | discovery.k8s.io | endpointslices',
      // Secrets and configMaps from when an object asks for TLS.
      'list watch | core | configmaps namespaces pods secrets services',
      'create patch | core | events',
      // Kinds it defines; a create cannot be limited by name.
      'create | apiextensions.k8s.io | customresourcedefinitions',
      'get update | apiextensions.k8s.io | customresourcedefinitions | backendtlspolicies.gateway.networking.k8s.io gatewayclasses.gateway.networking.k8s.io gateways.gateway.networking.k8s.io grpcroutes.gateway.networking.k8s.io httproutes.gateway.networking.k8s.io referencegrants.gateway.networking.k8s.io destinationrules.networking.istio.io gateways.networking.istio.io virtualservices.networking.istio.io',
    ],
    boundTo: ['User:system:fairlead-gateway'],
  },
  {
    name: 'fairlead:gateway',
    namespace: 'kube-system',
    rules: [
      'create | core | services',
      'get | core | services | fairlead-gateway',
      'create | discovery.k8s.io | endpointslices',
      'patch | discovery.k8s.io | endpointslices | fairlead-gateway',
    ],
    boundTo: ['User:system:fairlead-gateway'],
  },
]
