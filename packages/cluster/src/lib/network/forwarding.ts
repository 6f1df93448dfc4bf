import { mkdir, readdir, readFile, rm, writeFile } from 'node:fs/promises'
import { dirname } from 'node:path'

/** Where the machine's forwarding of packets is looked up and changed, for tests. */
export interface ForwardingPaths {
  readonly switch: string
  /** Says that it was off before a cluster turned it on. Goes with the boot, as the switch does. */
  readonly marker: string
  /** A folder per network device. */
  readonly devices: string
}

const ofMachine: ForwardingPaths = {
  switch: '/proc/sys/net/ipv4/ip_forward',
  marker: '/run/fairlead/ip-forward-was-off',
  devices: '/sys/class/net',
}

/** Lets the machine pass packets on between its devices, which pods need. */
export async function turnForwardingOn(paths: ForwardingPaths = ofMachine): Promise<void> {
  if ((await readFile(paths.switch, 'utf8')).trim() === '1') return
  // Before the switch: a crash in between leaves a marker that says the truth.
  await mkdir(dirname(paths.marker), { recursive: true, mode: 0o700 })
  await writeFile(paths.marker, '')
  await writeFile(paths.switch, '1')
}

/**
 * Leaves forwarding as it was found, when a cluster turned it on and nobody may need it: no other bridge (of a cluster or a
 * container engine) and no tunnel is left.
 */
export async function restoreForwarding(paths: ForwardingPaths = ofMachine): Promise<void> {
  const wasOff = await readFile(paths.marker, 'utf8').then(
    () => true,
    () => false,
  )
  if (!wasOff || (await hasForwardingDevices(paths.devices))) return
  await writeFile(paths.switch, '0')
  await rm(paths.marker, { force: true })
}

async function hasForwardingDevices(folder: string): Promise<boolean> {
  const names = await readdir(folder)
  if (names.some((name) => /^(tun|tap|wg|tailscale|cni|docker|virbr)/.test(name))) return true
  const found = await Promise.all(names.map((name) => readdir(`${folder}/${name}`).catch((): string[] => [])))
  return found.some((entries) => entries.includes('bridge'))
}
