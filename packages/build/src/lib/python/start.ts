import { readdir, readFile } from 'node:fs/promises'
import { join } from 'node:path'

import { pythonUnusable } from '../errors.ts'

/** How a Python application is started: arguments of the interpreter. */
export interface PythonStart {
  args: readonly string[]
  /** For people: `gunicorn app:app`. */
  text: string
}

/** Files that hold an application object by custom, the likeliest first. */
const FILES = ['wsgi.py', 'asgi.py', 'app.py', 'main.py', 'application.py', 'api.py', 'server.py']
const OBJECT = /^(app|application|api)\s*(?::[^=]+)?=\s*(?:\w+\.)*(\w+)\(/m
const ASGI = /^(FastAPI|Starlette|Quart|Litestar|Sanic|BlackSheep|get_asgi_application)$/

/**
 * Finds out by custom how to start a folder: an application object in `app.py`, `main.py`, `wsgi.py` or `asgi.py`, served by
 * gunicorn or uvicorn where the requirements have them; else `__main__.py` or the file itself.
 */
export async function findStart(dir: string, requirements: string): Promise<PythonStart> {
  const names = new Set(await readdir(dir))
  const has = (name: string): boolean => new RegExp(`^${name}(?![\\w-])`, 'im').test(requirements)
  for (const file of FILES.filter((name) => names.has(name))) {
    const text = await readFile(join(dir, file), 'utf8')
    const [, object, maker = ''] = OBJECT.exec(text) ?? []
    if (object === undefined) continue
    const target = `${file.slice(0, -3)}:${object}`
    const isAsgi = ASGI.test(maker) || file === 'asgi.py'
    if (isAsgi && has('uvicorn')) return uvicorn(target)
    if (isAsgi && has('hypercorn')) return hypercorn(target)
    // Takes the port from PORT by itself.
    if (!isAsgi && has('gunicorn')) return served('gunicorn', ['--worker-tmp-dir', '/dev/shm', target])
    if (!isAsgi && has('waitress')) return waitress(target)
    if (/^if __name__ ==/m.test(text)) return { args: [file], text: file }
    const server = isAsgi ? 'uvicorn' : 'gunicorn'
    throw pythonUnusable(dir, `nothing serves "${target}"`, `Add ${server} to requirements.txt`)
  }
  if (names.has('__main__.py')) return { args: ['__main__.py'], text: '__main__.py' }
  const own = FILES.find((name) => names.has(name))
  if (own !== undefined) return { args: [own], text: own }
  throw pythonUnusable(dir, 'where it starts was not found', `Name the file app.py or main.py, or add a __main__.py`)
}

function served(module: string, args: readonly string[]): PythonStart {
  return { args: ['-m', module, ...args], text: `${module} ${args.at(-1) ?? ''}` }
}

function uvicorn(target: string): PythonStart {
  const code = `import os,uvicorn;uvicorn.run(${JSON.stringify(target)},host='0.0.0.0',port=int(os.environ['PORT']))`
  return { args: ['-c', code], text: `uvicorn ${target}` }
}

function hypercorn(target: string): PythonStart {
  const args = `['--bind','0.0.0.0:'+os.environ['PORT'],${JSON.stringify(target)}]`
  const code = `import os,sys;from hypercorn.__main__ import main;sys.exit(main(${args}))`
  return { args: ['-c', code], text: `hypercorn ${target}` }
}

function waitress(target: string): PythonStart {
  const [module = '', object = ''] = target.split(':')
  const code = `import os,waitress,${module};waitress.serve(${module}.${object},listen='0.0.0.0:'+os.environ['PORT'])`
  return { args: ['-c', code], text: `waitress ${target}` }
}
