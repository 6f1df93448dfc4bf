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
  codeSplitting: { groups: [{ name: 'statement', test: /\/oci\/src\/lib\/attest\/statement\.ts$/ }] },
})
await bundle.close()
for (const name of globSync('*.js', { cwd: dist })) writeAscii(join(dist, name))
copyFileSync(join(root, 'packages', 'cluster', 'src', 'lib', 'network', 'preload.cjs'), join(dist, 'preload.cjs'))
copyFileSync(join(root, 'docs', 'reference', 'errors.md'), join(dist, 'errors.md'))

/**
 * Escapes, which mean the same in texts, templates, regular expressions and names. A source with one character beyond Latin-1 is kept
 * with two bytes for each of its characters, 2 MB of them, as long as the process runs.
 */
function writeAscii(path: string): void {
  const source = readFileSync(path, 'utf8')
  const escape = (character: string): string => `\\u${character.charCodeAt(0).toString(16).padStart(4, '0')}`
  writeFileSync(path, source.replaceAll(/[^\0-\x7f]/g, escape))
}
