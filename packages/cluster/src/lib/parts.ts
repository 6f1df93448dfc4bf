// The components of a cluster that work through its API.
export { createCertificateSigner } from './certificate-signer.ts'
export { runControllers } from './controllers/run-controllers.ts'
export { ensureStorageClass } from './controllers/volumes/local-volumes.ts'
export { gatewayUser, openGateway } from './gateway/gateway.ts'
export { keepKubernetesService } from './kubernetes-service.ts'
export { openServiceNetwork } from './network/service-network.ts'
export { runNodes } from './nodes.ts'
export { runScheduler } from './scheduler/run-scheduler.ts'
