// Loaded with --require into every program of a cluster without network namespaces. It gives the program what a network
// namespace would: servers listen on the pod's own address, and Service names lead to an endpoint. It covers what is built
// on node:net and node:dns (http, https, http2, tls, fetch); datagrams and programs other than Node see the plain host.
'use strict'

const dns = require('node:dns')
const { errorMonitor } = require('node:events')
const fs = require('node:fs')
const net = require('node:net')
const { syncBuiltinESMExports } = require('node:module')
const { fileURLToPath } = require('node:url')

const podIp = process.env.FAIRLEAD_POD_IP
const podNamespace = process.env.FAIRLEAD_POD_NAMESPACE || 'default'
const tablePath = process.env.FAIRLEAD_SERVICE_TABLE

const everywhere = new Set(['', '0.0.0.0', '::'])
const loopback = new Set(['localhost', '127.0.0.1', '::1'])
/** Ports this process listens on: its own loopback, as in a network namespace, is the pod's address. */
const ownPorts = new Map()

let table = { domain: 'cluster.local', services: {}, addresses: {} }
let version = ''

/** The Service table, read again when its file was replaced. */
function currentTable() {
  try {
    const { ino, mtimeNs } = fs.statSync(tablePath, { bigint: true })
    const found = `${ino} ${mtimeNs}`
    if (found !== version) {
      table = JSON.parse(fs.readFileSync(tablePath, 'utf8'))
      version = found
    }
  } catch {
    // Not written yet, or gone with the cluster: the last one known stays in use.
  }
  return table
}

/** What a name means by the search list of the pod's namespace: `{ service, host }`, host for one endpoint of it. */
function findService(name) {
  const { domain } = currentTable()
  const text = String(name).toLowerCase().replace(/\.$/, '')
  if (text === '' || net.isIP(text) !== 0) return undefined
  const suffix = [`.svc.${domain}`, '.svc'].find((ending) => text.endsWith(ending)) ?? ''
  const labels = text.slice(0, text.length - suffix.length).split('.')
  if (labels.length > 3) return undefined
  const [first, second, third] = labels
  if (third !== undefined) return entryOf(second, third, first)
  if (suffix !== '') return second === undefined ? undefined : entryOf(first, second)
  if (second === undefined) return entryOf(first, podNamespace)
  return entryOf(second, podNamespace, first) ?? entryOf(first, second)
}

function entryOf(name, namespace, host) {
  const { services } = currentTable()
  const key = `${namespace}/${name}`
  if (!Object.hasOwn(services, key)) return undefined
  const service = services[key]
  return host === undefined || Object.hasOwn(service.hosts, host) ? { service, host } : undefined
}

/** The addresses a name of the cluster stands for; undefined for every other name. */
function addressesOf(name) {
  const found = findService(name)
  if (found === undefined || found.service.externalName) return undefined
  if (found.host !== undefined) return [found.service.hosts[found.host]]
  return found.service.clusterIP ? [found.service.clusterIP] : shuffled(found.service.endpoints)
}

/** Where a connection really goes: `{ host, port }`, `{ refused: true }`, or undefined for: as it was asked. */
function targetOf(host, port) {
  if (loopback.has(host)) return ownPorts.has(Number(port)) ? { host: podIp, port } : undefined
  const name = findService(host)
  if (name !== undefined && name.service.externalName) return { host: name.service.externalName, port }
  const address = name === undefined ? host : addressesOf(host)[0]
  if (address === undefined) return { refused: true }
  const { addresses, services } = currentTable()
  const key = Object.hasOwn(addresses, address) ? addresses[address] : undefined
  if (key === undefined) return name === undefined ? undefined : { host: address, port }
  const redirect = redirectOf(services[key], port)
  if (redirect !== undefined) return { host: redirect[0], port: redirect[1] }
  const [ip, target] = chooseEndpoint(`${key}/${port}`, services[key]?.ports[Number(port)] ?? [], services[key])
  return ip === undefined ? { refused: true } : { host: ip, port: target }
}

/** Where the cluster's process passes connections on itself, as long as it is there. */
function redirectOf(service, port) {
  const redirect = service?.redirects?.[Number(port)]
  return redirect !== undefined && isAlive(currentTable().owner) ? redirect : undefined
}

function isAlive(pid) {
  try {
    process.kill(pid, 0)
    return true
  } catch (error) {
    return error.code === 'EPERM'
  }
}

/** By Service port: the endpoint this pod keeps, and until when, as long as there is session affinity. */
const kept = new Map()

function chooseEndpoint(key, endpoints, service) {
  if (service?.affinitySeconds === undefined) return endpoints[Math.floor(Math.random() * endpoints.length)] ?? []
  const now = Date.now()
  const last = kept.get(key)
  const isKept = (endpoint) => `${endpoint}` === last?.name && now < last.until
  // By address, so that all processes of a pod, which are one client, begin with the same.
  const chosen = endpoints.find(isKept) ?? endpoints.toSorted((a, b) => rankOf(b) - rankOf(a))[0]
  if (chosen === undefined) return []
  kept.set(key, { name: `${chosen}`, until: now + service.affinitySeconds * 1000 })
  return chosen
}

/** Highest random weight of this pod for an endpoint; FNV-1a, and a mix so that addresses that differ little do not follow each other. */
function rankOf(endpoint) {
  let hash = 0x811c9dc5
  for (const char of `${podIp} ${endpoint}`) hash = Math.imul(hash ^ char.charCodeAt(0), 0x01000193)
  hash = Math.imul(hash ^ (hash >>> 16), 0x85ebca6b)
  return (hash ^ (hash >>> 13)) >>> 0
}

function shuffled(list) {
  return list
    .map((value) => [Math.random(), value])
    .toSorted((a, b) => a[0] - b[0])
    .map(([, value]) => value)
}

function patchListen() {
  const listen = net.Server.prototype.listen
  net.Server.prototype.listen = function (...args) {
    const [first] = args
    const isObject = typeof first === 'object' && first !== null
    const isPort = typeof first === 'number' || (typeof first === 'string' && /^\d+$/.test(first))
    const isOptions = isObject && 'port' in first && first.port != null && !('fd' in first)
    // A path, a handle or a descriptor is no address.
    if (!isPort && !isOptions && first != null && typeof first !== 'function') {
      return listen.apply(this, [placeOfSocket(first), ...args.slice(1)])
    }
    const options = isOptions ? { ...first } : { port: isPort ? Number(first) : 0 }
    const rest = isOptions || isPort || first == null ? args.slice(1) : args
    const callback = rest.find((argument) => typeof argument === 'function')
    if (!isOptions) {
      for (const argument of rest) {
        if (typeof argument === 'string') options.host = argument
        if (typeof argument === 'number') options.backlog = argument
      }
    }
    const host = options.host ?? ''
    if (everywhere.has(host) || loopback.has(host)) {
      options.host = podIp
      delete options.ipv6Only
    }
    this.on(errorMonitor, (error) => {
      if (error.code !== 'EADDRINUSE' || podIp !== '127.0.0.1') return
      error.message += ' (without network namespaces, pods on this system share one address: one replica per port)'
    })
    this.once('listening', () => {
      const port = this.address()?.port
      ownPorts.set(port, (ownPorts.get(port) ?? 0) + 1)
      this.once('close', () => {
        const left = (ownPorts.get(port) ?? 1) - 1
        if (left > 0) ownPorts.set(port, left)
        else ownPorts.delete(port)
      })
    })
    return callback === undefined ? listen.call(this, options) : listen.call(this, options, callback)
  }
}

function patchConnect() {
  const connect = net.Socket.prototype.connect
  net.Socket.prototype.connect = function (...args) {
    // node:net itself passes its arguments on as one array.
    const plain = Array.isArray(args[0]) ? args[0] : args
    const [first] = plain
    const isOptions = typeof first === 'object' && first !== null
    const isPort = typeof first === 'number' || (typeof first === 'string' && /^\d+$/.test(first))
    if ((!isOptions && !isPort) || (isOptions && (first.path || first.port == null))) {
      if (plain === args) return connect.apply(this, [placeOfSocket(first), ...args.slice(1)])
      // The array has a mark by which node:net knows it.
      plain[0] = placeOfSocket(first)
      return connect.apply(this, args)
    }
    const host = (isOptions ? first.host : typeof plain[1] === 'string' ? plain[1] : undefined) || 'localhost'
    const port = isOptions ? first.port : Number(first)
    const target = targetOf(host, port)
    if (target === undefined) return connect.apply(this, args)
    const callback = plain.find((argument) => typeof argument === 'function')
    if (target.refused) return refuse(this, host, port)
    const options = { ...(isOptions ? first : {}), host: target.host, port: target.port }
    // The server shall see the pod, not the host.
    if (isLoopbackAddress(target.host) && isLoopbackAddress(podIp)) options.localAddress ??= podIp
    return callback === undefined ? connect.call(this, options) : connect.call(this, options, callback)
  }
}

function isLoopbackAddress(address) {
  return net.isIPv4(address) && address.startsWith('127.')
}

/** Fails as a connection to a Service without endpoints does. */
function refuse(socket, address, port) {
  const error = new Error(`connect ECONNREFUSED ${address}:${port}`)
  Object.assign(error, { code: 'ECONNREFUSED', errno: -111, syscall: 'connect', address, port: Number(port) })
  socket.connecting = true
  process.nextTick(() => socket.destroy(error))
  return socket
}

function patchLookup() {
  const { lookup } = dns
  dns.lookup = function (name, options, callback) {
    const done = typeof options === 'function' ? options : callback
    const addresses = typeof done === 'function' ? addressesOf(name) : undefined
    if (addresses === undefined) return lookup.apply(this, arguments)
    const { all = false } = typeof options === 'object' && options !== null ? options : {}
    process.nextTick(() => {
      if (addresses.length === 0) done(notFound('getaddrinfo', name))
      else if (all)
        done(
          null,
          addresses.map((address) => ({ address, family: 4 })),
        )
      else done(null, addresses[0], 4)
    })
    return {}
  }
  const lookupPromise = dns.promises.lookup
  dns.promises.lookup = async function (name, options) {
    const addresses = addressesOf(name)
    if (addresses === undefined) return lookupPromise.apply(this, arguments)
    if (addresses.length === 0) throw notFound('getaddrinfo', name)
    if (options?.all === true) return addresses.map((address) => ({ address, family: 4 }))
    return { address: addresses[0], family: 4 }
  }
}

function patchResolve() {
  for (const method of ['resolve4', 'resolve']) {
    const ask = dns[method]
    dns[method] = function (name, ...rest) {
      const done = rest.at(-1)
      const addresses = isAddressQuestion(method, rest[0]) && typeof done === 'function' ? addressesOf(name) : undefined
      if (addresses === undefined) return ask.call(this, name, ...rest)
      process.nextTick(() => (addresses.length === 0 ? done(notFound('queryA', name)) : done(null, addresses)))
      return {}
    }
    const askPromise = dns.promises[method]
    dns.promises[method] = async function (name, ...rest) {
      const addresses = isAddressQuestion(method, rest[0]) ? addressesOf(name) : undefined
      if (addresses === undefined) return askPromise.call(this, name, ...rest)
      if (addresses.length === 0) throw notFound('queryA', name)
      return addresses
    }
  }
}

function isAddressQuestion(method, type) {
  return method === 'resolve4' ? typeof type !== 'object' || type === null : typeof type !== 'string' || type === 'A'
}

function notFound(syscall, hostname) {
  return Object.assign(new Error(`${syscall} ENOTFOUND ${hostname}`), { code: 'ENOTFOUND', syscall, hostname })
}

/** Paths of the pod and where they are on this machine, the longest first. */
const mounts = JSON.parse(process.env.FAIRLEAD_MOUNTS || '[]')

function placeOf(path) {
  const text = path instanceof URL && path.protocol === 'file:' ? fileURLToPath(path) : path
  if (typeof text !== 'string') return path
  for (const [destination, place] of mounts) {
    if (text === destination) return place
    if (text.startsWith(`${destination}/`)) return place + text.slice(destination.length)
  }
  return path
}

/** Sockets in volumes, for `listen` and `connect`: a path, or options with one. */
function placeOfSocket(first) {
  if (typeof first === 'string') return placeOf(first)
  return typeof first?.path === 'string' ? { ...first, path: placeOf(first.path) } : first
}

const onePath =
  'access appendFile chmod chown createReadStream createWriteStream exists lchown lstat lutimes mkdir mkdtemp open ' +
  'openAsBlob opendir readdir readFile readlink realpath rm rmdir stat statfs truncate unlink unwatchFile utimes watch ' +
  'watchFile writeFile'
const twoPaths = 'copyFile cp link rename symlink'

function patchFiles() {
  for (const [names, count] of [
    [onePath, 1],
    [twoPaths, 2],
  ]) {
    for (const name of names.split(' ')) {
      for (const [owner, method] of [
        [fs, name],
        [fs, `${name}Sync`],
        [fs.promises, name],
      ]) {
        if (typeof owner[method] === 'function') owner[method] = withPlaces(owner[method], count)
      }
    }
  }
}

/** Keeps what hangs on the function: `realpath.native`, and how it becomes a promise. */
function withPlaces(original, count) {
  const placed = function (...args) {
    for (let index = 0; index < count; index++) args[index] = placeOf(args[index])
    return original.apply(this, args)
  }
  Object.defineProperties(placed, Object.getOwnPropertyDescriptors(original))
  if (typeof original.native === 'function') placed.native = withPlaces(original.native, count)
  return placed
}

if (mounts.length > 0) {
  patchFiles()
  syncBuiltinESMExports()
}

if (podIp && tablePath) {
  patchListen()
  patchConnect()
  patchLookup()
  patchResolve()
  // Named imports of built-in modules are copies made before this file ran.
  syncBuiltinESMExports()
}
