/**
 * Signatures and attestations of images, in the formats of cosign, by keys and without any network but the registry.
 *
 * @example
 * ```ts no-run
 * import { openLayout } from '@fairlead/oci/layout'
 * import { loadSigningKey, openLayoutHome, signImage, verifyImage } from '@fairlead/oci/sign'
 *
 * const key = await loadSigningKey('cosign.key')
 * const home = await openLayoutHome(await openLayout('/tmp/images'), 'localhost/shop/web')
 * await signImage(home, { key })
 * await verifyImage(home, { keys: [key.publicKey] })
 * ```
 */
export { openLayoutHome, openRegistryHome } from './lib/attest/image-home.ts'
export type { ImageHome, NewManifest } from './lib/attest/image-home.ts'
export { createStatement, predicateNames, predicateTypes, toPredicateType } from './lib/attest/statement.ts'
export type { Statement } from './lib/attest/statement.ts'
export { createAdmission } from './lib/sign/admit.ts'
export type { AdmitImage, AdmitOptions } from './lib/sign/admit.ts'
export type { Envelope } from './lib/sign/dsse.ts'
export { collectEvidence } from './lib/sign/evidence.ts'
export type { Evidence, EvidenceOptions, Findings } from './lib/sign/evidence.ts'
export { generateKeys, loadSigningKey, loadVerificationKey, parseVerificationKey } from './lib/sign/keys.ts'
export type { GeneratedKeys, KeyOptions, KeyType, SigningKey, VerificationKey } from './lib/sign/keys.ts'
export { decideImage, findImageRule, parseImagePolicy } from './lib/sign/policy.ts'
export type { ImageDecision, ImagePolicy, ImageRule, PolicyKeyLoader } from './lib/sign/policy.ts'
export { attestImage, signImage, verifyImage } from './lib/sign/sign.ts'
export type { AttestOptions, Signed, SignOptions, VerifyOptions } from './lib/sign/sign.ts'
