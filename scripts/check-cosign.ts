// Holds our signatures against cosign 3: each reads what the other wrote, in a registry of Debian and in ours, in both
// formats and with every kind of key. Run by hand, for it needs a cosign built from source:
//
//   GOBIN=/tmp/bin go install github.com/sigstore/cosign/v3/cmd/cosign@v3.1.3
//   COSIGN_BINARY=/tmp/bin/cosign node --conditions=@fairlead/source scripts/check-cosign.ts
import { execFile, spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import { createServer } from 'node:net'
import type { AddressInfo } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { promisify } from 'node:util'
import { digestOf, mediaTypes } from '@fairlead/oci'
import { openLayout } from '@fairlead/oci/layout'
import { createRegistryClient, pushImage } from '@fairlead/oci/registry'
import { serveRegistry } from '@fairlead/oci/server'
import {
  attestImage,
  generateKeys,
  loadSigningKey,
  loadVerificationKey,
  openRegistryHome,
  predicateTypes,
  signImage,
  verifyImage,
} from '@fairlead/oci/sign'
import type { KeyType } from '@fairlead/oci/sign'

const run = promisify(execFile)
const cosignBinary = process.env['COSIGN_BINARY'] ?? 'cosign'
const work = await mkdtemp(join(tmpdir(), 'fairlead-cosign-'))
const env = { ...process.env, COSIGN_PASSWORD: 'a passphrase', HOME: work, COSIGN_YES: 'true' }
const offline = ['--use-signing-config=false', '--tlog-upload=false']
const results: { name: string; isGood: boolean; detail: string }[] = []

async function cosign(...args: string[]): Promise<string> {
  const { stdout, stderr } = await run(cosignBinary, args, { env, cwd: work, timeout: 60_000 })
  return stdout + stderr
}

async function check(name: string, act: () => Promise<unknown>): Promise<void> {
  try {
    await act()
    results.push({ name, isGood: true, detail: '' })
  } catch (error) {
    results.push({ name, isGood: false, detail: (error as Error).message.trim().split('\n').slice(-2).join(' ') })
  }
}

async function mustFail(act: () => Promise<unknown>): Promise<void> {
  const isDone = await act().then(
    () => true,
    () => false,
  )
  if (isDone) throw new Error('it was accepted')
}

/** An index with one image, of which `seed` makes the digest. */
async function pushSample(host: string, name: string, seed: string, isIndex: boolean): Promise<string> {
  const layout = await openLayout(join(work, 'layout'))
  const layer = await layout.writeBlob(Buffer.from(seed))
  const rootfs = { type: 'layers', diff_ids: [digestOf(seed)] }
  const image = await layout.writeJson(mediaTypes.manifest, {
    schemaVersion: 2,
    mediaType: mediaTypes.manifest,
    config: await layout.writeJson(mediaTypes.config, { os: 'linux', architecture: 'amd64', rootfs }),
    layers: [{ mediaType: mediaTypes.layer, ...layer }],
  })
  const platform = { os: 'linux', architecture: 'amd64' }
  const index = { schemaVersion: 2, mediaType: mediaTypes.index, manifests: [{ ...image, platform }] }
  await layout.tag('localhost/sample:1', isIndex ? await layout.writeJson(mediaTypes.index, index) : image)
  const { pinned } = await pushImage('localhost/sample:1', `${host}/${name}:1`, { layout })
  return pinned
}

async function checkRegistry(label: string, host: string): Promise<void> {
  const predicate = join(work, 'predicate.json')
  const build = {
    buildDefinition: { buildType: 'https://example.com/b', externalParameters: {} },
    runDetails: { builder: { id: 'https://example.com/x' } },
  }
  await writeFile(predicate, JSON.stringify(build))
  for (const type of ['ecdsa', 'rsa', 'ed25519'] as const) await checkKey(label, host, type, predicate)
}

async function checkKey(label: string, host: string, type: KeyType, predicate: string): Promise<void> {
  const title = `${label}, ${type}`
  const keyFile = join(work, `${type}.key`)
  const publicFile = join(work, `${type}.pub`)
  const pair = await generateKeys({ type, passphrase: env.COSIGN_PASSWORD })
  await writeFile(keyFile, pair.privateKey, { mode: 0o600 })
  await writeFile(publicFile, pair.publicKey)
  const key = await loadSigningKey(keyFile, { env })
  const keys = [await loadVerificationKey(publicFile)]
  const other = join(work, 'other.pub')
  await writeFile(other, (await generateKeys()).publicKey)

  for (const isIndex of [false, true]) {
    const what = `${title}, ${isIndex ? 'index' : 'image'}`
    const ours = await pushSample(host, `ours/${type}`, `${title} ours ${isIndex}`, isIndex)
    const home = await openRegistryHome(ours)
    await check(`${what}: cosign verifies our signature`, async () => {
      await signImage(home, { key, annotations: { team: 'shop' } })
      await cosign('verify', '--key', publicFile, '--insecure-ignore-tlog', ours)
      await cosign('verify', '--key', publicFile, '--insecure-ignore-tlog', '-a', 'team=shop', ours)
    })
    await check(`${what}: cosign refuses our signature by another key`, () =>
      mustFail(() => cosign('verify', '--key', other, '--insecure-ignore-tlog', ours)),
    )
    await check(`${what}: cosign verifies our attestation`, async () => {
      const value: unknown = JSON.parse(await readFile(predicate, 'utf8'))
      await attestImage(home, { key, predicateType: predicateTypes.provenance, predicate: value })
      await cosign(
        'verify-attestation',
        '--key',
        publicFile,
        '--insecure-ignore-tlog',
        '--type',
        'slsaprovenance1',
        ours,
      )
    })

    const theirs = await pushSample(host, `theirs/${type}`, `${title} theirs ${isIndex}`, isIndex)
    await check(`${what}: we verify cosign's signature`, async () => {
      await cosign('sign', '--key', keyFile, '--yes', ...offline, theirs)
      const [evidence] = await verifyImage(await openRegistryHome(theirs), { keys, legacy: false })
      if (evidence?.format !== 'bundle') throw new Error('it is no bundle')
      await mustFail(async () =>
        verifyImage(await openRegistryHome(theirs), { keys: [await loadVerificationKey(other)] }),
      )
    })
    await check(`${what}: we verify cosign's attestation`, async () => {
      const options = ['--key', keyFile, '--yes', ...offline, '--type', 'slsaprovenance1', '--predicate', predicate]
      await cosign('attest', ...options, theirs)
      await verifyImage(await openRegistryHome(theirs), {
        keys,
        predicateType: predicateTypes.provenance,
        legacy: false,
      })
    })

    const old = await pushSample(host, `legacy-ours/${type}`, `${title} old ours ${isIndex}`, isIndex)
    await check(`${what}: cosign verifies our legacy signature and attestation`, async () => {
      const oldHome = await openRegistryHome(old)
      await signImage(oldHome, { key, legacy: true })
      await cosign('verify', '--key', publicFile, '--insecure-ignore-tlog', '--new-bundle-format=false', old)
      await attestImage(oldHome, { key, predicateType: predicateTypes.provenance, predicate: {}, legacy: true })
      const asked = ['--type', 'slsaprovenance1', '--new-bundle-format=false']
      await cosign('verify-attestation', '--key', publicFile, '--insecure-ignore-tlog', ...asked, old)
    })
    const oldTheirs = await pushSample(host, `legacy-theirs/${type}`, `${title} old theirs ${isIndex}`, isIndex)
    await check(`${what}: we verify cosign's legacy signature and attestation`, async () => {
      const options = ['--key', keyFile, '--yes', ...offline, '--new-bundle-format=false']
      await cosign('sign', ...options, '-a', 'team=shop', oldTheirs)
      const oldHome = await openRegistryHome(oldTheirs)
      const [evidence] = await verifyImage(oldHome, { keys, annotations: { team: 'shop' } })
      if (evidence?.format !== 'legacy') throw new Error('it is not legacy')
      await cosign('attest', ...options, '--type', 'slsaprovenance1', '--predicate', predicate, oldTheirs)
      await verifyImage(oldHome, { keys, predicateType: predicateTypes.provenance })
    })
  }
}

async function checkKeys(): Promise<void> {
  await check('we read the encrypted key of cosign, and its public key fits', async () => {
    await cosign('generate-key-pair', '--output-key-prefix', 'made')
    const key = await loadSigningKey(join(work, 'made.key'), { env })
    const known = await loadVerificationKey(join(work, 'made.pub'))
    if (key.publicKey.hint !== known.hint) throw new Error('the keys differ')
    await mustFail(() => loadSigningKey(join(work, 'made.key'), { env: { COSIGN_PASSWORD: 'wrong' } }))
  })
  await check('cosign reads our encrypted key, and derives the same public key', async () => {
    const pair = await generateKeys({ passphrase: env.COSIGN_PASSWORD })
    await writeFile(join(work, 'own.key'), pair.privateKey, { mode: 0o600 })
    const text = await cosign('public-key', '--key', 'own.key')
    if (!text.includes(pair.publicKey.trim())) throw new Error('the keys differ')
  })
}

async function serveDebian(): Promise<{ host: string; stop(): Promise<void> }> {
  const probe = createServer().listen(0, '127.0.0.1')
  await once(probe, 'listening')
  const host = `127.0.0.1:${(probe.address() as AddressInfo).port}`
  probe.close()
  await once(probe, 'close')
  const config = join(work, 'registry.yml')
  const storage = JSON.stringify(join(work, 'storage'))
  await writeFile(
    config,
    `version: 0.1\nlog: { level: error }\nstorage: { filesystem: { rootdirectory: ${storage} } }\nhttp: { addr: "${host}" }\n`,
  )
  const child = spawn('docker-registry', ['serve', config], { stdio: 'ignore' })
  const client = createRegistryClient()
  while (!(await client.isReachable(host, { timeoutMs: 1000 }))) {
    if (child.exitCode !== null) throw new Error('docker-registry did not start')
    await sleep(20)
  }
  return {
    host,
    async stop() {
      child.kill()
      if (child.exitCode === null) await once(child, 'close')
    },
  }
}

try {
  await checkKeys()
  const debian = await serveDebian()
  try {
    await checkRegistry("Debian's docker-registry", debian.host)
  } finally {
    await debian.stop()
  }
  await using registry = await serveRegistry({ dir: join(work, 'served'), anonymous: 'all' })
  await checkRegistry('fairlead registry', new URL(registry.url).host)
} finally {
  await rm(work, { recursive: true, force: true })
}
for (const { name, isGood, detail } of results)
  console.log(`${isGood ? 'ok ' : 'BAD'} ${name}${detail === '' ? '' : `: ${detail}`}`)
const good = results.filter(({ isGood }) => isGood).length
console.log(`${good} of ${results.length}`)
process.exitCode = good === results.length ? 0 : 1
