import { toBinary } from '@bufbuild/protobuf'
import type { DescFile, DescService } from '@bufbuild/protobuf'
import { FileDescriptorProtoSchema } from '@bufbuild/protobuf/wkt'
import { Code } from '@connectrpc/connect'

interface ReflectionRequest {
  readonly host: string
  readonly messageRequest: { readonly case?: string | undefined; readonly value?: unknown }
}

/** Answers what a reflection client asks about `services`, one answer per question. */
export async function* reflect(
  services: readonly DescService[],
  questions: AsyncIterable<ReflectionRequest>,
): AsyncGenerator<object> {
  const files = new Map<string, DescFile>()
  for (const { file } of services) addFile(files, file)
  const bySymbol = new Map(
    [...files.values()].flatMap((file) => symbolsOf(file).map((symbol) => [symbol, file] as const)),
  )

  for await (const question of questions) {
    yield {
      validHost: question.host,
      originalRequest: question,
      messageResponse: answer(question.messageRequest),
    }
  }

  function answer({ case: kind, value }: ReflectionRequest['messageRequest']): object {
    const name = typeof value === 'string' ? value : ''
    if (kind === 'listServices') {
      const service = services.map(({ typeName }) => ({ name: typeName }))
      return { case: 'listServicesResponse', value: { service } }
    }
    if (kind === 'fileByFilename') return toFile(files.get(name), name)
    if (kind === 'fileContainingSymbol') return toFile(bySymbol.get(name), name)
    return toError(Code.Unimplemented, 'Extensions are not told')
  }
}

/** With what it imports, so that one question is enough. */
function toFile(file: DescFile | undefined, name: string): object {
  if (file === undefined) return toError(Code.NotFound, `There is no "${name}"`)
  const needed = new Map<string, DescFile>()
  addFile(needed, file)
  const encoded = needed.values().map(({ proto }) => toBinary(FileDescriptorProtoSchema, proto))
  return { case: 'fileDescriptorResponse', value: { fileDescriptorProto: encoded.toArray() } }
}

function toError(errorCode: Code, errorMessage: string): object {
  return { case: 'errorResponse', value: { errorCode, errorMessage } }
}

function addFile(files: Map<string, DescFile>, file: DescFile): void {
  if (files.has(file.proto.name)) return
  files.set(file.proto.name, file)
  for (const dependency of file.dependencies) addFile(files, dependency)
}

function symbolsOf(file: DescFile): string[] {
  return [
    ...file.services.flatMap(({ typeName, methods }) => [
      typeName,
      ...methods.map(({ name }) => `${typeName}.${name}`),
    ]),
    ...file.messages.map(({ typeName }) => typeName),
    ...file.enums.map(({ typeName }) => typeName),
  ]
}
