import { resolve } from 'node:path'
import type { App, AppService } from '@fairlead/delivery/app'
import { loadApp } from '@fairlead/delivery/app'
import type { ConfigKeyReport, ConfigValues } from '@fairlead/service/config'
import { type Command, defineCommand, jsonOption } from '../command.ts'
import { readGiven } from '../config/given.ts'
import { type Inspection, inspectConfig } from '../config/inspect.ts'
import { configAbsent, notFound } from '../errors.ts'
import type { Paint } from '../terminal/terminal.ts'
import { renderTable } from '../terminal/text.ts'

/** `fairlead config check` */
export const configCheck: Command = defineCommand({
  name: 'config check',
  summary: 'check values against the configuration of services, without starting them',
  description: [
    'The service is loaded up to run(service) and asked for its defineConfig(...). Values are those of --env-file, --dir,',
    '--configmap and --secret, together with "env" and "config" of fairlead.config.ts; without any of these options the',
    'environment and the folders of this machine. Every problem is told with its key, its origin and the way out.',
    'Exit codes: 0 valid, 1 not valid, 2 the values or the service cannot be read.',
  ].join('\n'),
  args: ['[dir]'],
  options: {
    service: { type: 'string', value: 'NAME', help: 'only this service of the app' },
    'env-file': { type: 'string', value: 'FILE', help: 'variables as NAME=value lines' },
    dir: { type: 'string', value: 'DIR', help: 'a folder with a file per key, as a ConfigMap is mounted' },
    configmap: { type: 'string', value: 'FILE', help: 'a manifest with ConfigMaps, taken as mounted' },
    secret: { type: 'string', value: 'FILE', help: 'a manifest with Secrets, taken as mounted' },
    explain: { type: 'boolean', help: 'print a table of the keys: type, default, variable, origin' },
    schema: { type: 'boolean', help: 'print the JSON Schema and check nothing' },
    json: jsonOption,
  },
  examples: [
    { command: 'fairlead config check', text: 'the service in this folder with the environment of this shell' },
    {
      command: 'fairlead config check --configmap config.yaml --secret secret.yaml',
      text: 'what would be deployed, before it is',
    },
    { command: 'fairlead config check --explain', text: 'every key, and where its value comes from' },
  ],
  async run({ options, args: [dir = '.'], env, cwd, terminal, signal }) {
    const app = await loadApp(resolve(cwd, dir), { signal })
    const { 'env-file': envFile, dir: mounted, configmap: configMap, secret } = options
    const given = await readGiven({ envFile, dir: mounted, configMap, secret, cwd, env })
    const results: Result[] = []
    for (const service of chooseServices(app, options.service)) {
      const found = await inspectConfig(service.dir, addDefined(given, service), { env, signal })
      if (found !== undefined) results.push({ name: service.name, ...found })
    }
    if (results.length === 0) throw configAbsent(app.dir)
    if (options.schema) {
      const [only] = results
      terminal.printJson(
        results.length === 1 ? only?.schema : Object.fromEntries(results.map(({ name, schema }) => [name, schema])),
      )
      return 0
    }
    if (options.json) terminal.printJson({ services: results.map(({ name, report }) => ({ name, ...report })) })
    else for (const result of results) terminal.print(renderResult(result, options.explain, terminal.paintResults))
    return results.every(({ report }) => report.isValid) ? 0 : 1
  },
})

interface Result extends Inspection {
  readonly name: string
}

function chooseServices(app: App, name: string | undefined): readonly AppService[] {
  if (name === undefined) return app.services
  const found = app.services.filter((service) => service.name === name)
  if (found.length > 0) return found
  const names = app.services.map((service) => service.name).join(', ')
  throw notFound(name, `the app "${app.name}" has no such service`, `Its services are ${names}`)
}

/** What fairlead.config.ts gives the service is there whatever else is given. */
function addDefined(given: ConfigValues, { env, config }: Pick<AppService, 'env' | 'config'>): ConfigValues {
  const variables = Object.entries(env).flatMap(([name, value]) => {
    if (typeof value !== 'object') return [[name, String(value)] as const]
    const source = 'secret' in value ? `Secret ${value.secret}` : `ConfigMap ${value.configMap}`
    const text = given.mounted?.find((object) => object.name === source)?.entries[value.key]
    return text === undefined ? [] : [[name, text] as const]
  })
  const files = Object.keys(config).length === 0 ? [] : [{ name: '/etc/config', entries: config }]
  return {
    ...given,
    env: { ...given.env, ...Object.fromEntries(variables) },
    ...(given.mounted === undefined && files.length === 0 ? {} : { mounted: [...files, ...(given.mounted ?? [])] }),
  }
}

/** Every problem with its way out, and the table of keys when it is wanted. */
export function renderResult({ name, report }: Result, isExplained: boolean, paint: Paint): string {
  const { problems, warnings, keys } = report
  const count = problems.length === 1 ? '1 problem' : `${problems.length} problems`
  const lines = [
    problems.length === 0
      ? `${paint('green', 'ok')}    ${name}: ${keys.length} keys`
      : `${paint('red', 'fail')}  ${name}: ${count}`,
    ...problems.flatMap(({ message, hint }) => [`  ${message}`, ...(hint === undefined ? [] : [`    ${hint}`])]),
    ...warnings.map(({ message }) => `  ${paint('yellow', 'warning:')} ${message}`),
  ]
  return isExplained ? [...lines, '', renderKeys(keys)].join('\n') : lines.join('\n')
}

function renderKeys(keys: readonly ConfigKeyReport[]): string {
  return renderTable(
    ['KEY', 'TYPE', 'DEFAULT', 'ENV', 'VALUE', 'ORIGIN'],
    keys.map((key) => [
      key.key,
      key.type,
      key.isRequired ? '(required)' : show(key.default),
      key.env ?? '-',
      show(key.value),
      key.origin ?? '-',
    ]),
  )
}

function show(value: unknown): string {
  if (value === undefined) return '-'
  return typeof value === 'string' ? value : JSON.stringify(value)
}
