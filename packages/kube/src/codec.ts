/**
 * Kubernetes objects from and to text and bytes: YAML and JSON manifests, and the protobuf bodies Go clients send.
 *
 * ```ts
 * import { parseManifests, renderYaml } from '@fairlead/kube/codec'
 *
 * const [object] = parseManifests('{apiVersion: v1, kind: ConfigMap, metadata: {name: settings}}', 'settings.yaml')
 * console.log(renderYaml(object))
 * ```
 */
export { findDuplicateKeys } from './lib/codec/duplicate-keys.ts'
export { copyExactJson, narrowInteger, parseExactJson, renderExactJson } from './lib/codec/exact-json.ts'
export { parseJson } from './lib/codec/json.ts'
export { decodeProtobuf, isProtobuf } from './lib/codec/protobuf.ts'
export { encodeMessage, encodeProtobuf, renderElementHead, renderEnvelope } from './lib/codec/protobuf-encode.ts'
export { parseManifests, parseRepeatingYaml, parseYaml, renderYaml } from './lib/codec/yaml.ts'
export { isZeroAbsent } from './lib/codec/zero.ts'
export type { JsonOptions, ParsedJson } from './lib/codec/json.ts'
export type { IntegerOptions, RepeatedKey } from './lib/codec/yaml.ts'
