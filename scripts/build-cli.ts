// `npm run build`: bundles the command line into packages/cli/dist, as it is published: few files, so that it and the cluster
// process start fast. In the repository everything else runs from source. Usage: node scripts/build-cli.ts [folder]
import { copyFileSync, globSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { dirname, join, resolve } from 'node:path'
import { fileURLToPath } from 'node:url'
import { rolldown } from 'rolldown'

const root = dirname(dirname(fileURLToPath(import.meta.url)))
const dist = resolve(process.argv[2] ?? join(root, 'packages', 'cli', 'dist'))

rmSync(dist, { recursive: true, force: true })
const bundle = await rolldown({
  input: {
    main: join(root, 'packages', 'cli', 'src', 'main.ts'),
    // Started as a program of its own, found beside the code that starts it.
    'process-shim': join(root, 'packages', 'oci', 'src', 'lib', 'runtime', 'process-shim.ts'),
  },
  platform: 'node',
  resolve: { conditionNames: ['@fairlead/source', 'node', 'import', 'default'] },
  // Entries of packages only name what others hold: whoever takes one thing need not load the rest.
  treeshake: { moduleSideEffects: [{ test: /\/packages\/(?!cli\/)[^/]+\/src\/[^/]+\.ts$/, sideEffects: false }] },
  // They bring native code, or files they look for beside themselves.
  external: ['rolldown', /^rolldown\//, '@vercel/nft'],
})
await bundle.write({
  dir: dist,
  format: 'esm',
  entryFileNames: '[name].js',
  chunkFileNames: '[name]-[hash].js',
  // Every build writes statements, and few sign them: the cryptography of keys is not theirs to load.
  // Whoever reads the code has the sources; every command reads it anew.
  comments: { jsdoc: false },
  codeSplitting: {
    groups: [
      { name: 'statement', test: /\/oci\/src\/lib\/attest\/statement\.ts$/, priority: 2 },
      // What many share would be as many small files, and each takes a third of a millisecond to find, read and link.
      {
        name: 'shell',
        test: /\/cli\/src\/lib\/(cli|command|help|errors|parse-command|terminal\/(terminal|text|report))\.ts$/,
        minShareCount: 2,
        priority: 1,
      },
      { name: 'embedded', test: /\/cli\/src\/lib\/(embedded\/.+|ports)\.ts$/, minShareCount: 2 },
      { name: 'kube', test: /\/kube\/src\//, minShareCount: 2 },
      {
        name: 'layout',
        test: /\/oci\/src\/lib\/(layout|archive|reference|image|media-types|runtime)\b/,
        minShareCount: 2,
      },
    ],
  },
})
await bundle.close()
for (const name of globSync('*.js', { cwd: dist })) {
  const path = join(dist, name)
  writeFileSync(path, toAscii(takeBuiltins(readFileSync(path, 'utf8'))))
}
copyFileSync(join(root, 'packages', 'cluster', 'src', 'lib', 'network', 'preload.cjs'), join(dist, 'preload.cjs'))
copyFileSync(join(root, 'docs', 'reference', 'errors.md'), join(dist, 'errors.md'))

/**
 * An `import` reads every export of a builtin, and many are getters that load another one: worker threads for `node:util`, the Web
 * Cryptography API for `node:crypto`, readline for `node:fs`. That is 5 ms of each command, of which these lines take none.
 */
function takeBuiltins(source: string): string {
  const lines = source.split('\n')
  const end = lines.findIndex((line) => !line.startsWith('import '))
  return [...lines.slice(0, end).map(takeBuiltin), ...lines.slice(end)].join('\n')
}

function takeBuiltin(line: string): string {
  const [, list, name] = /^import \{ (.+) \} from "(node:.+)";$/.exec(line) ?? []
  if (list === undefined || name === undefined) return line
  const builtin: object = Object(process.getBuiltinModule(name))
  const names = list.split(', ').map((each) => each.split(' as '))
  const absent = names.find(([exported = '']) => !(exported in builtin))
  if (absent !== undefined) throw new TypeError(`Cannot take "${absent[0]}" from "${name}": there is no such export`)
  return `const { ${names.map((each) => each.join(': ')).join(', ')} } = process.getBuiltinModule("${name}");`
}

/**
 * Escapes, which mean the same in texts, templates, regular expressions and names. A source with one character beyond Latin-1 is kept
 * with two bytes for each of its characters, 2 MB of them, as long as the process runs.
 */
function toAscii(source: string): string {
  const escape = (character: string): string => `\\u${character.charCodeAt(0).toString(16).padStart(4, '0')}`
  return source.replaceAll(/[^\0-\x7f]/g, escape)
}
