import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { access } from 'node:fs/promises'
import { join } from 'node:path'
import { Readable } from 'node:stream'

import { attachUnavailable } from '../errors.ts'
import { findCommand, toolEnvironment } from './command.ts'
import { holdOutput, superviseSession } from './session.ts'
import type { ContainerSession } from './session.ts'

/**
 * The go-between to conmon's attach socket, which keeps packets apart (SOCK_SEQPACKET): Node cannot open such a socket, Perl,
 * which every Debian has, can. The first byte of a packet tells the stream: 2 output, 3 errors. The socket's path may be longer
 * than an address can hold, so it is named from within its folder. Descriptor 3 gets a byte when it is connected and somebody
 * reads the input, who goes on to its end whatever becomes of the other; it is closed either way.
 */
const bridge = String.raw`
use strict; use Socket;
chdir $ARGV[0] or die "chdir: $!\n";
socket(my $s, AF_UNIX, SOCK_SEQPACKET, 0) or die "socket: $!\n";
connect($s, sockaddr_un("attach")) or die "connect: $!\n";
open(my $connected, ">&=", 3);
sub put { my ($to, $bytes) = @_; while (length $bytes) { my $n = syswrite($to, $bytes); exit 0 unless defined $n; $bytes = substr($bytes, $n); } }
my $withInput = $ARGV[1]; my $pid = fork // die "fork: $!\n";
syswrite($connected, "1") if $pid; close $connected;
if ($pid == 0) {
  exit 0 unless $withInput;
  while (sysread(STDIN, my $bytes, 8192)) { defined syswrite($s, $bytes) or exit 0 }
  shutdown($s, 1); exit 0;
}
$SIG{PIPE} = "IGNORE";
while (sysread($s, my $packet, 65536)) {
  my $stream = ord $packet;
  put($stream == 3 ? *STDERR : *STDOUT, substr($packet, 1));
}
END { kill "TERM", $pid if $pid }
`

/** Attaches to the standard streams of a container under conmon: what it writes from then on is seen. */
export async function attachMonitored(
  bundle: string,
  options: { readonly stdin: boolean; readonly tty: boolean; readonly pid: number },
): Promise<ContainerSession> {
  const perl = await findCommand('perl')
  if (perl === undefined) throw attachUnavailable('"perl" is not installed')
  await access(join(bundle, 'attach')).catch((cause: unknown) => {
    throw attachUnavailable('its monitor has no socket for it', cause)
  })
  const child = spawn(perl, ['-e', bridge, bundle, options.stdin ? '1' : ''], {
    stdio: [options.stdin ? 'pipe' : 'ignore', 'pipe', 'pipe', 'pipe'],
    env: toolEnvironment(),
  })
  const { tty, pid } = options
  const session = superviseSession({ child, output: holdOutput(child), tty, pid, isAttached: true })
  const connected = child.stdio[3]
  // The container may have ended meanwhile, and its monitor with it: its socket is left.
  if (!(connected instanceof Readable) || !(await saysAnything(connected))) {
    session.kill()
    throw attachUnavailable('its monitor does not answer')
  }
  return session
}

async function saysAnything(stream: Readable): Promise<boolean> {
  let isSaid = false
  stream.on('data', () => (isSaid = true))
  await once(stream, 'close')
  return isSaid
}
