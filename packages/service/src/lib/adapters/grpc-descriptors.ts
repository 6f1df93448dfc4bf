import { create, createFileRegistry } from '@bufbuild/protobuf'
import type { DescService } from '@bufbuild/protobuf'
import {
  FieldDescriptorProto_Label as Label,
  FieldDescriptorProto_Type as Type,
  FileDescriptorProtoSchema,
} from '@bufbuild/protobuf/wkt'

/** Name, number and type of a field; `oneof` fields are those of one choice. */
interface Field {
  readonly name: string
  readonly number: number
  readonly type: 'string' | 'bytes' | 'int32' | 'message' | 'enum'
  readonly typeName?: string
  readonly isRepeated?: boolean
  readonly isChoice?: boolean
}

interface ServiceFile {
  readonly name: string
  readonly package: string
  readonly service: string
  readonly methods: readonly { name: string; input: string; output: string; streams: 'none' | 'server' | 'both' }[]
  readonly messages: Readonly<Record<string, { readonly fields: readonly Field[]; readonly choice?: string }>>
  readonly enums?: Readonly<Record<string, readonly string[]>>
}

const types = {
  string: Type.STRING,
  bytes: Type.BYTES,
  int32: Type.INT32,
  message: Type.MESSAGE,
  enum: Type.ENUM,
} as const

/** A service of a protocol file that is written down here instead of being generated: it is half a page. */
export function describeService(file: ServiceFile): DescService {
  const full = (name: string): string => `.${file.package}.${name}`
  const proto = create(FileDescriptorProtoSchema, {
    name: file.name,
    package: file.package,
    syntax: 'proto3',
    enumType: Object.entries(file.enums ?? {}).map(([name, values]) => ({
      name,
      value: values.map((value, number) => ({ name: value, number })),
    })),
    messageType: Object.entries(file.messages).map(([name, { fields, choice }]) => ({
      name,
      field: fields.map((field) => ({
        name: field.name,
        number: field.number,
        type: types[field.type],
        label: field.isRepeated ? Label.REPEATED : Label.OPTIONAL,
        ...(field.typeName === undefined ? {} : { typeName: full(field.typeName) }),
        ...(field.isChoice ? { oneofIndex: 0 } : {}),
      })),
      ...(choice === undefined ? {} : { oneofDecl: [{ name: choice }] }),
    })),
    service: [
      {
        name: file.service,
        method: file.methods.map(({ name, input, output, streams }) => ({
          name,
          inputType: full(input),
          outputType: full(output),
          clientStreaming: streams === 'both',
          serverStreaming: streams !== 'none',
        })),
      },
    ],
  })
  const service = createFileRegistry(proto, () => undefined).getService(`${file.package}.${file.service}`)
  if (service === undefined) throw new TypeError(`Cannot describe "${file.service}": its file does not have it`)
  return service
}

/** `grpc.health.v1`, the gRPC Health Checking Protocol. */
export const healthService: DescService = describeService({
  name: 'grpc/health/v1/health.proto',
  package: 'grpc.health.v1',
  service: 'Health',
  methods: [
    { name: 'Check', input: 'HealthCheckRequest', output: 'HealthCheckResponse', streams: 'none' },
    { name: 'Watch', input: 'HealthCheckRequest', output: 'HealthCheckResponse', streams: 'server' },
  ],
  messages: {
    HealthCheckRequest: { fields: [{ name: 'service', number: 1, type: 'string' }] },
    HealthCheckResponse: { fields: [{ name: 'status', number: 1, type: 'enum', typeName: 'ServingStatus' }] },
  },
  // Nested in the response by the protocol's own file, which makes no difference on the wire.
  enums: { ServingStatus: ['UNKNOWN', 'SERVING', 'NOT_SERVING', 'SERVICE_UNKNOWN'] },
})

/** gRPC Server Reflection, of which clients ask the old name when they do not find the new one. */
export function reflectionService(version: 'v1' | 'v1alpha'): DescService {
  const text = (name: string, number: number, isChoice = false): Field => ({ name, number, type: 'string', isChoice })
  const message = (name: string, number: number, typeName: string, isChoice = false): Field => {
    return { name, number, type: 'message', typeName, isChoice }
  }
  return describeService({
    name: `grpc/reflection/${version}/reflection.proto`,
    package: `grpc.reflection.${version}`,
    service: 'ServerReflection',
    methods: [
      {
        name: 'ServerReflectionInfo',
        input: 'ServerReflectionRequest',
        output: 'ServerReflectionResponse',
        streams: 'both',
      },
    ],
    messages: {
      ServerReflectionRequest: {
        choice: 'message_request',
        fields: [
          text('host', 1),
          text('file_by_filename', 3, true),
          text('file_containing_symbol', 4, true),
          message('file_containing_extension', 5, 'ExtensionRequest', true),
          text('all_extension_numbers_of_type', 6, true),
          text('list_services', 7, true),
        ],
      },
      ExtensionRequest: {
        fields: [text('containing_type', 1), { name: 'extension_number', number: 2, type: 'int32' }],
      },
      ServerReflectionResponse: {
        choice: 'message_response',
        fields: [
          text('valid_host', 1),
          message('original_request', 2, 'ServerReflectionRequest'),
          message('file_descriptor_response', 4, 'FileDescriptorResponse', true),
          message('all_extension_numbers_response', 5, 'ExtensionNumberResponse', true),
          message('list_services_response', 6, 'ListServiceResponse', true),
          message('error_response', 7, 'ErrorResponse', true),
        ],
      },
      FileDescriptorResponse: {
        fields: [{ name: 'file_descriptor_proto', number: 1, type: 'bytes', isRepeated: true }],
      },
      ExtensionNumberResponse: {
        fields: [text('base_type_name', 1), { name: 'extension_number', number: 2, type: 'int32', isRepeated: true }],
      },
      ListServiceResponse: {
        fields: [{ name: 'service', number: 1, type: 'message', typeName: 'ServiceResponse', isRepeated: true }],
      },
      ServiceResponse: { fields: [text('name', 1)] },
      ErrorResponse: { fields: [{ name: 'error_code', number: 1, type: 'int32' }, text('error_message', 2)] },
    },
  })
}
