import type { RoleFacts } from './role-facts.ts'

/** The Roles a Kubernetes 1.36 cluster begins with in its own namespaces, and who holds them. */
export const namespaceRoles: readonly RoleFacts[] = [
  {
    name: 'system:controller:bootstrap-signer',
    namespace: 'kube-public',
    rules: [
      'get list watch | core | configmaps',
      'update | core | configmaps | cluster-info',
      'create patch update | core events.k8s.io | events',
    ],
    boundTo: ['kube-system/bootstrap-signer'],
  },
  {
    name: 'extension-apiserver-authentication-reader',
    namespace: 'kube-system',
    rules: ['get list watch | core | configmaps | extension-apiserver-authentication'],
    boundTo: ['User:system:kube-controller-manager', 'User:system:kube-scheduler'],
    bindingName: 'system::extension-apiserver-authentication-reader',
  },
  {
    name: 'system::leader-locking-kube-controller-manager',
    namespace: 'kube-system',
    rules: [
      'create get list update watch | coordination.k8s.io | leases',
      'create get list update watch | coordination.k8s.io | leasecandidates',
    ],
    boundTo: [
      'User:system:kube-controller-manager',
      'kube-system/kube-controller-manager',
      'kube-system/leader-election-controller',
    ],
  },
  {
    name: 'system::leader-locking-kube-scheduler',
    namespace: 'kube-system',
    rules: [
      'create get list update watch | coordination.k8s.io | leases',
      'create get list update watch | coordination.k8s.io | leasecandidates',
    ],
    boundTo: ['User:system:kube-scheduler', 'kube-system/kube-scheduler'],
  },
  {
    name: 'system:controller:bootstrap-signer',
    namespace: 'kube-system',
    rules: ['get list watch | core | secrets'],
    boundTo: ['kube-system/bootstrap-signer'],
  },
  {
    name: 'system:controller:cloud-provider',
    namespace: 'kube-system',
    rules: ['create get list watch | core | configmaps'],
    boundTo: ['kube-system/cloud-provider'],
  },
  {
    name: 'system:controller:token-cleaner',
    namespace: 'kube-system',
    rules: ['delete get list watch | core | secrets', 'create patch update | core events.k8s.io | events'],
    boundTo: ['kube-system/token-cleaner'],
  },
]
