#!/usr/bin/env node
// Starts the CLI with a Node that can run it. Plain JavaScript for any Node >= 18: the right Node may be one that npm
// installed beside this package while the one on PATH is older.
import { spawn } from 'node:child_process'
import { existsSync } from 'node:fs'
import { createRequire } from 'node:module'
import { constants } from 'node:os'
import { dirname, join } from 'node:path'
import { fileURLToPath, pathToFileURL } from 'node:url'

const wanted = [24, 12]
const name = `node-${process.platform}-${process.arch}`
const packageDir = dirname(dirname(fileURLToPath(import.meta.url)))

const source = join(packageDir, 'src', 'main.ts')
const built = join(packageDir, 'dist', 'main.js')
const node = findNode()
const isSource = existsSync(source)

if (isSource) start(node, ['--conditions=@fairlead/source', source, ...process.argv.slice(2)])
// This very process will do, and starting another takes as long as half of a short command.
else if (node === process.execPath) await import(pathToFileURL(built).href)
else start(node, [built, ...process.argv.slice(2)])

function findNode() {
  return newEnough() ?? installed() ?? giveUp()
}

function newEnough() {
  const [major = 0, minor = 0] = process.versions.node.split('.').map(Number)
  if (major > wanted[0] || (major === wanted[0] && minor >= wanted[1])) return process.execPath
  return undefined
}

function installed() {
  try {
    const manifest = createRequire(import.meta.url).resolve(`${name}/package.json`)
    const binary = join(dirname(manifest), 'bin', 'node')
    return existsSync(binary) ? binary : undefined
  } catch {
    return undefined
  }
}

function giveUp() {
  process.stderr.write(
    `Cannot start fairlead: this is Node ${process.versions.node}, expected ${wanted.join('.')} or newer\n` +
      `  hint: Install Node ${wanted[0]}, or add it to the project with npm install --save-dev ${name}\n`,
  )
  process.exit(1)
}

/** Becomes the CLI where Node can (execve), else runs it as a child whose signals and exit code pass through. */
function start(node, args) {
  if (typeof process.execve === 'function' && process.platform !== 'win32') {
    process.execve(node, [node, ...args], process.env)
  }
  const child = spawn(node, args, { stdio: 'inherit' })
  // A terminal sends Ctrl-C to the child too; it takes a signal that follows at once as the same one.
  for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP', 'SIGQUIT']) process.on(signal, () => child.kill(signal))
  child.on('error', (error) => {
    process.stderr.write(`Cannot start fairlead: ${error.message}\n`)
    process.exit(1)
  })
  child.on('exit', (code, signal) => process.exit(signal === null ? code : 128 + constants.signals[signal]))
}
