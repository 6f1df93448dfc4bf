import { spawn } from 'node:child_process'
import type { ChildProcessByStdio } from 'node:child_process'
import { once } from 'node:events'
import { connect } from 'node:net'
import { Duplex } from 'node:stream'
import type { Readable, Writable } from 'node:stream'

/** Where the ports of a pod are. */
export interface PodPlaceOnNetwork {
  readonly ip: string
  /** Missing where pods have no network of their own. */
  readonly netnsPath?: string | undefined
}

const connectTimeoutMs = 10_000

/**
 * Joins standard input and output with a TCP connection to a port of `localhost`; says "+" first, or why not. Perl, because a
 * process that enters another network has to be a new one, and this one starts in milliseconds.
 */
const bridge = String.raw`
use strict; use Socket;
my $port = $ARGV[0]; my ($s, $why);
for ([AF_INET, pack_sockaddr_in($port, inet_aton("127.0.0.1"))], [AF_INET6, pack_sockaddr_in6($port, Socket::inet_pton(AF_INET6, "::1"))]) {
  my $t;
  if (socket($t, $_->[0], SOCK_STREAM, 0) && connect($t, $_->[1])) { $s = $t; last }
  $why //= $!;
}
syswrite(STDOUT, $s ? "+" : "-$why"); exit 1 unless $s;
setsockopt($s, 6, 1, 1);
sub copy { my ($from, $to) = @_; while (sysread($from, my $bytes, 65536)) { while (length $bytes) { my $n = syswrite($to, $bytes); return unless defined $n; substr($bytes, 0, $n) = "" } } }
$SIG{PIPE} = "IGNORE";
my $pid = fork // die; if ($pid == 0) { close STDOUT; copy(*STDIN, $s); shutdown($s, 1); exit 0 }
close STDIN; copy($s, *STDOUT); close STDOUT; waitpid $pid, 0;
`

/** Connects to a port as a program in the pod would by `localhost`. Rejects in the words clients know. */
export async function connectToPod(place: PodPlaceOnNetwork, port: number): Promise<Duplex> {
  const { ip, netnsPath } = place
  if (netnsPath === undefined) return await connectTo(ip, port)
  const child = spawn('nsenter', [`--net=${netnsPath}`, 'perl', '-e', bridge, String(port)], {
    stdio: ['pipe', 'pipe', 'ignore'],
    env: { PATH: `${process.env['PATH'] ?? ''}:/usr/sbin:/sbin:/usr/bin:/bin`, LC_ALL: 'C' },
  })
  const { stdin, stdout } = child
  stdin.on('error', () => {})
  const failed = new Promise<never>((_, reject) => child.once('error', reject))
  const timer = setTimeout(() => child.kill('SIGKILL'), connectTimeoutMs)
  try {
    const [first = Buffer.alloc(0)] = (await Promise.race([
      once(stdout, 'data'),
      once(stdout, 'end'),
      failed,
    ])) as Buffer[]
    stdout.pause()
    if (first[0] !== 0x2b) throw refused(port, first.toString('utf8', 1) || 'no answer')
    if (first.length > 1) stdout.unshift(first.subarray(1))
  } catch (error) {
    child.kill('SIGKILL')
    throw error
  } finally {
    clearTimeout(timer)
  }
  return joinStreams(child)
}

/** One stream of a child's two; it ends the child when it is destroyed or both ways have ended. */
function joinStreams(child: ChildProcessByStdio<Writable, Readable, null>): Duplex {
  const { stdin, stdout } = child
  const stream = new Duplex({
    allowHalfOpen: true,
    read: () => void stdout.resume(),
    write: (chunk: Buffer, _encoding, done) => void stdin.write(chunk, done),
    final: (done) => void stdin.end(done),
    destroy(error, done) {
      child.kill('SIGKILL')
      stdin.destroy()
      stdout.destroy()
      done(error)
    },
  })
  stream.on('error', () => {})
  stdout.on('data', (chunk: Buffer) => {
    if (!stream.push(chunk)) stdout.pause()
  })
  stdout.on('end', () => stream.push(null))
  stdout.on('error', () => stream.destroy())
  return stream
}

async function connectTo(ip: string, port: number): Promise<Duplex> {
  const socket = connect({ host: ip, port, allowHalfOpen: true, noDelay: true })
  socket.setTimeout(connectTimeoutMs, () => socket.destroy(new Error('i/o timeout')))
  await once(socket, 'connect').catch((error: NodeJS.ErrnoException) => {
    throw refused(port, error.code === 'ECONNREFUSED' ? 'connection refused' : error.message)
  })
  socket.setTimeout(0)
  return socket
}

function refused(port: number, why: string): Error {
  return new Error(
    `failed to connect to localhost:${port} inside the pod: dial tcp4 127.0.0.1:${port}: connect: ${why.toLowerCase()}`,
  )
}
