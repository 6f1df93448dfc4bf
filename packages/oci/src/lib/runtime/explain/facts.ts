import { readFile, readlink } from 'node:fs/promises'

import { runCommand } from '../command.ts'

/** What the kernel says of a process, each in one line. */
export type ProcessFacts = Readonly<Record<string, string>>

const NAMESPACES = ['mnt', 'uts', 'ipc', 'net', 'cgroup', 'pid', 'user'] as const

/** Reads `/proc/<pid>` of the host: so nothing is needed inside the container, and nothing there can lie. */
export async function readFacts(pid: number): Promise<ProcessFacts> {
  const status = await readFile(`/proc/${pid}/status`, 'utf8')
  const field = (name: string): string =>
    new RegExp(`^${name}:\\s*(.*)$`, 'm').exec(status)?.[1]?.replaceAll(/\s+/g, ' ').trim() ?? '-'
  const mounts = await readFile(`/proc/${pid}/mountinfo`, 'utf8')
  return {
    ...(await namespaces(pid)),
    'process id inside': field('NSpid').split(' ').at(-1) ?? '-',
    'host name': (await runCommand('nsenter', ['--target', String(pid), '--uts', 'hostname'])).trim(),
    mounts: String(mounts.trim().split('\n').length),
    'root file system': rootOf(mounts),
    'network devices': await devices(pid),
    ...(await controlGroups(pid)),
    user: `${field('Uid').split(' ')[1] ?? '-'}:${field('Gid').split(' ')[1] ?? '-'}`,
    CapEff: capabilities(field('CapEff')),
    CapBnd: capabilities(field('CapBnd')),
    NoNewPrivs: field('NoNewPrivs'),
    Seccomp: { '0': '0 (none)', '2': '2 (filter)' }[field('Seccomp')] ?? field('Seccomp'),
  }
}

/** `own`, or that of this process; the kernel names a namespace by a number that is of no use to a reader. */
async function namespaces(pid: number): Promise<ProcessFacts> {
  const entries = NAMESPACES.map(async (name): Promise<[string, string]> => {
    const [its, ours] = await Promise.all([readlink(`/proc/${pid}/ns/${name}`), readlink(`/proc/self/ns/${name}`)])
    return [`namespace ${name}`, its === ours ? "the machine's" : 'own']
  })
  return Object.fromEntries(await Promise.all(entries))
}

/** Fields of proc(5), "mountinfo": mount point, options, and behind the dash type and source. */
function rootOf(mounts: string): string {
  for (const line of mounts.split('\n').toReversed()) {
    const [before = '', after = ''] = line.split(' - ')
    const [, , , , point, options = ''] = before.split(' ')
    if (point === '/') return `${after.split(' ')[0] ?? '-'}, ${options.split(',')[0] ?? '-'}`
  }
  return '-'
}

async function devices(pid: number): Promise<string> {
  const text = await readFile(`/proc/${pid}/net/dev`, 'utf8')
  const names = [...text.matchAll(/^\s*([^\s:|]+):/gm)].map(([, name]) => name)
  return names.length > 4 ? `${names.slice(0, 3).join(', ')} and ${names.length - 3} more` : names.join(', ')
}

/** Path and limits, of version 2 or of the hierarchies of version 1. */
async function controlGroups(pid: number): Promise<ProcessFacts> {
  const text = await readFile(`/proc/${pid}/cgroup`, 'utf8')
  const lines = text
    .trim()
    .split('\n')
    .map((line) => line.split(':'))
  const unified = lines.find(([id, controllers]) => id === '0' && controllers === '')?.[2]
  const pathOf = (controller: string): string | undefined =>
    lines.find(([, controllers]) => controllers?.split(',').includes(controller))?.[2]
  const memory = pathOf('memory')
  const path = memory ?? unified ?? '-'
  const read = async (...files: string[]): Promise<string> => {
    for (const file of files) {
      const found = await readFile(file, 'utf8').catch(() => undefined)
      if (found !== undefined) return found.trim()
    }
    return '-'
  }
  const root = '/sys/fs/cgroup'
  return {
    'control group': path,
    ...(memory !== undefined && unified !== undefined ? { 'control group of version 2': unified } : {}),
    'memory limit': limit(
      await read(`${root}/memory${memory ?? ''}/memory.limit_in_bytes`, `${root}${unified ?? ''}/memory.max`),
    ),
    'process limit': limit(
      await read(`${root}/pids${pathOf('pids') ?? ''}/pids.max`, `${root}${unified ?? ''}/pids.max`),
    ),
  }
}

/** Version 1 says "no limit" by a number beyond any memory. */
function limit(text: string): string {
  return Number(text) > 2 ** 60 || text === 'max' || text === '-' ? 'none' : text
}

function capabilities(mask: string): string {
  const bits = BigInt(`0x${mask === '-' ? '0' : mask}`)
  const count = bits.toString(2).replaceAll('0', '').length
  return `${mask} (${count === 0 ? 'none' : count})`
}
