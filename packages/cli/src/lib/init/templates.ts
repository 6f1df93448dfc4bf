/** What a new service is called and where its packages come from. */
export interface Skeleton {
  /** A DNS label. */
  readonly name: string
  /** By package: a version, or `file:` and a folder of a clone. */
  readonly packages: Readonly<Record<string, string>>
  /** Whether the packages are TypeScript sources, which Node and the type checker then have to be told. */
  readonly isFromSource: boolean
}

/** The schema library of the new service; any other with Standard Schema would do. */
const validation = 'zod'

/** The files of a new service, by their paths. */
export function renderSkeleton(skeleton: Skeleton): Readonly<Record<string, string>> {
  return {
    'package.json': renderManifest(skeleton),
    'tsconfig.json': renderTypes(skeleton),
    '.gitignore': 'node_modules/\ndist/\n.env\n*.log\n',
    'README.md': renderReadme(skeleton),
    'fairlead.config.ts': renderApp(skeleton),
    'src/main.ts': renderMain(skeleton),
    'src/service.ts': renderService(skeleton),
    'src/config.ts': renderConfig(skeleton),
    'src/routes.ts': routes,
    'src/store.ts': store,
    'src/service.test.ts': renderServiceTest(skeleton),
    'src/store.test.ts': storeTest,
  }
}

/** As a call, because what checks the imports of this package reads lines. */
function importLine(names: string, from: string): string {
  return `import ${names} from '${from}'`
}

/** What its variables begin with: `NOTES_`. */
function prefixOf({ name }: Skeleton): string {
  return `${name.toUpperCase().replaceAll('-', '_')}_`
}

/** How it is called in code: `myNotes`. */
function variableOf({ name }: Skeleton): string {
  const variable = name.replaceAll(/-+(\w)/g, (_, letter: string) => letter.toUpperCase())
  return ['service', 'config', 'store', 'run', 'addRoutes'].includes(variable) || reserved.test(variable)
    ? `${variable}Service`
    : variable
}

const reserved =
  /^(await|break|case|catch|class|const|continue|debugger|default|delete|do|else|enum|export|extends|false|finally|for|function|if|implements|import|in|instanceof|interface|let|new|null|package|private|protected|public|return|static|super|switch|this|throw|true|try|typeof|var|void|while|with|yield)$/

function renderManifest({ name, packages, isFromSource }: Skeleton): string {
  const node = `node${isFromSource ? ' --conditions=@fairlead/source' : ''}`
  const { '@fairlead/service': service, ...tools } = packages
  const manifest = {
    name,
    version: '0.1.0',
    private: true,
    type: 'module',
    main: 'src/main.ts',
    scripts: {
      start: `${node} src/main.ts`,
      dev: `${node} --watch src/main.ts`,
      test: `${node} --test 'src/**/*.test.ts'`,
      check: 'tsc',
    },
    dependencies: { '@fairlead/service': service, [validation]: '^4.6.7' },
    devDependencies: { ...tools, '@types/node': '^24.12.0', typescript: '^7.0.2' },
    engines: { node: '>=24.12' },
  }
  return `${JSON.stringify(manifest, undefined, 2)}\n`
}

function renderTypes({ isFromSource }: Skeleton): string {
  const options = {
    target: 'es2024',
    lib: ['esnext'],
    module: 'nodenext',
    types: ['node'],
    ...(isFromSource ? { customConditions: ['@fairlead/source'] } : {}),
    strict: true,
    noUncheckedIndexedAccess: true,
    exactOptionalPropertyTypes: true,
    noEmit: true,
    allowImportingTsExtensions: true,
    erasableSyntaxOnly: true,
    verbatimModuleSyntax: true,
    skipLibCheck: true,
  }
  return `${JSON.stringify({ compilerOptions: options, include: ['src', 'fairlead.config.ts'] }, undefined, 2)}\n`
}

function renderReadme(skeleton: Skeleton): string {
  const { name } = skeleton
  return `# ${name}

A service that keeps notes. \`src/main.ts\` only runs what \`src/service.ts\` wires together: the configuration
(\`src/config.ts\`), the store (\`src/store.ts\`) and the routes (\`src/routes.ts\`).

\`\`\`sh
npm install
npm test
npm start                                  # http://127.0.0.1:8080, with /health and /metrics
npx fairlead config check --explain        # every setting, and where its value comes from
npx fairlead up                            # built and running on a Kubernetes of its own
\`\`\`

Settings are read from the environment (\`${prefixOf(skeleton)}GREETING\`, \`${prefixOf(skeleton)}NOTES__MAX\`) and from files mounted at
\`/etc/config\`, which may change while it runs.
`
}

function renderApp({ name }: Skeleton): string {
  return `import { defineApp } from '@fairlead/delivery/app'

export default defineApp({
  name: '${name}',
  services: {
    '${name}': {
      dir: '.',
      public: true,
      // Mounted at /etc/config, and followed there while the service runs.
      config: { greeting: 'Hello from the cluster' },
    },
  },
})
`
}

function renderMain(skeleton: Skeleton): string {
  const variable = variableOf(skeleton)
  return `import { run } from '@fairlead/service'
import { ${variable} } from './service.ts'

await run(${variable})
`
}

function renderService(skeleton: Skeleton): string {
  return `import { resource, service } from '@fairlead/service'
import { config } from './config.ts'
import { addRoutes } from './routes.ts'
import { createStore } from './store.ts'

/** Started before the first request, stopped after the last. */
const store = resource({ config }, ({ config }) => createStore({ max: config.notes.max }), {
  health: (notes) => notes.isOpen,
})

export const ${variableOf(skeleton)} = service({ name: '${skeleton.name}', config, use: { store }, http: addRoutes })
`
}

function renderConfig(skeleton: Skeleton): string {
  return `import { defineConfig, flags, integer, text } from '@fairlead/service/config'

export const config = defineConfig(
  {
    greeting: text({ default: 'Hello', help: 'What the front page says.' }),
    notes: {
      max: integer({ default: 1000, min: 1, help: 'How many notes are kept.' }),
    },
    features: flags({ shout: false }),
  },
  { env: '${prefixOf(skeleton)}', dir: '/etc/config' },
)
`
}

const routes = `import { problem, reply } from '@fairlead/service'
import type { Router } from '@fairlead/service'
${importLine('{ z }', validation)}
import type { Store } from './store.ts'

interface Uses {
  readonly store: Store
  readonly config: { readonly greeting: string; readonly features: { readonly shout: boolean } }
}

const newNote = z.object({ text: z.string().trim().min(1).max(1000) })

export function addRoutes(router: Router<Uses>): void {
  router.get('/', ({ config }) => {
    const { greeting, features } = config
    return { greeting: features.shout ? greeting.toUpperCase() : greeting }
  })

  router.get('/notes', ({ store }) => ({ items: store.list() }))

  router.post('/notes', { body: newNote }, ({ body, store, log }) => {
    const note = store.add(body.text)
    if (note === undefined) throw problem(507, 'There is no room for another note')
    log.info('note added', { note: note.id })
    return reply(note, { status: 201, headers: { location: \`/notes/\${note.id}\` } })
  })

  router.get('/notes/:id', ({ params, store }) => {
    const note = store.get(params.id)
    if (note === undefined) throw problem(404, \`There is no note "\${params.id}"\`)
    return note
  })

  router.delete('/notes/:id', ({ params, store }) => {
    if (!store.remove(params.id)) throw problem(404, \`There is no note "\${params.id}"\`)
    return undefined
  })
}
`

const store = `import { randomUUID } from 'node:crypto'

export interface Note {
  readonly id: string
  readonly text: string
  readonly createdAt: string
}

export interface Store extends Disposable {
  readonly isOpen: boolean
  /** Oldest first. */
  list(): readonly Note[]
  get(id: string): Note | undefined
  /** undefined when the store is full. */
  add(text: string): Note | undefined
  /** Whether there was one. */
  remove(id: string): boolean
}

/** Notes in memory: replace it by a database, its users will not notice. */
export function createStore({ max }: { readonly max: number }): Store {
  const notes = new Map<string, Note>()
  let isOpen = true
  return {
    get isOpen() {
      return isOpen
    },
    list: () => [...notes.values()],
    get: (id) => notes.get(id),
    add(text) {
      if (notes.size >= max) return undefined
      const note = { id: randomUUID(), text, createdAt: new Date().toISOString() }
      notes.set(note.id, note)
      return note
    },
    remove: (id) => notes.delete(id),
    [Symbol.dispose]() {
      isOpen = false
    },
  }
}
`

function renderServiceTest(skeleton: Skeleton): string {
  const variable = variableOf(skeleton)
  const prefix = prefixOf(skeleton)
  return `import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { start } from '@fairlead/service'
import type { Note } from './store.ts'
import { ${variable} } from './service.ts'

const options = { host: '127.0.0.1', port: 0 }

describe('${skeleton.name}', () => {
  it('keeps notes', async () => {
    await using app = await start(${variable}, { ...options, env: { LOG_LEVEL: 'silent' } })
    const created = await post(app.url, { text: 'buy rope' })
    assert.equal(created.status, 201)
    const note = (await created.json()) as Note
    assert.deepEqual(await (await fetch(\`\${app.url}/notes/\${note.id}\`)).json(), note)
    assert.equal((await fetch(\`\${app.url}/notes/\${note.id}\`, { method: 'DELETE' })).status, 204)
    assert.equal((await fetch(\`\${app.url}/notes/\${note.id}\`)).status, 404)
  })

  it('refuses what is no note', async () => {
    await using app = await start(${variable}, { ...options, env: { LOG_LEVEL: 'silent' } })
    assert.equal((await post(app.url, { text: '' })).status, 422)
  })

  it('takes its settings from the environment', async () => {
    const env = { LOG_LEVEL: 'silent', ${prefix}NOTES__MAX: '1', ${prefix}GREETING: 'Ahoy', ${prefix}FEATURES__SHOUT: 'true' }
    await using app = await start(${variable}, { ...options, env })
    assert.deepEqual(await (await fetch(app.url)).json(), { greeting: 'AHOY' })
    await post(app.url, { text: 'one' })
    assert.equal((await post(app.url, { text: 'two' })).status, 507)
  })

  it('does not start with settings that are wrong', async () => {
    const env = { LOG_LEVEL: 'silent', ${prefix}NOTES__MAX: 'many' }
    await assert.rejects(start(${variable}, { ...options, env }), { code: 'FAIRLEAD_SERVICE_CONFIG' })
  })

  it('is well', async () => {
    await using app = await start(${variable}, { ...options, env: { LOG_LEVEL: 'silent' } })
    assert.equal((await fetch(\`\${app.adminUrl}/health/ready\`)).status, 200)
  })
})

function post(url: string, body: unknown): Promise<Response> {
  return fetch(\`\${url}/notes\`, {
    method: 'POST',
    headers: { 'content-type': 'application/json' },
    body: JSON.stringify(body),
  })
}
`
}

const storeTest = `import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { createStore } from './store.ts'

describe('createStore', () => {
  it('lists what was added and not removed', () => {
    using store = createStore({ max: 10 })
    const one = store.add('one')
    const two = store.add('two')
    assert.equal(store.remove(one?.id ?? ''), true)
    assert.equal(store.remove(one?.id ?? ''), false)
    assert.deepEqual(store.list(), [two])
  })

  it('takes no more than it may', () => {
    using store = createStore({ max: 1 })
    store.add('one')
    assert.equal(store.add('two'), undefined)
  })
})
`
