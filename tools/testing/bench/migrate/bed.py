# SPDX-License-Identifier: GPL-2.0-or-later
"""A guest that is moved to and fro between two hosts, and what that takes."""
import statistics
import threading
import time

from hosts import Guest, host_cpu
from network import Network, other
from qmp_client import event_ns

# What the guest does by itself is looked at for so long.
SETTLE_SECONDS = 3
SAMPLE_SECONDS = 0.1
# From here on the mover is at work, not at its preparations.
FLOWS_BYTES = 1 << 20


class Flow:
    """When how much had gone over the link: looked at all the time by a thread."""

    def __init__(self, network):
        self.network = network
        self.start = network.bytes()
        self.samples = []
        self.end = threading.Event()
        self.thread = threading.Thread(target=self._look)
        self.thread.start()

    def _look(self):
        while not self.end.wait(SAMPLE_SECONDS):
            self.samples.append((time.time_ns(), self.bytes()))

    def bytes(self):
        return self.network.bytes() - self.start

    def stop(self):
        self.end.set()
        self.thread.join()

    def rate(self, until_ns):
        """Bytes a second, from the first ones until then; None if that was too short."""
        flowing = [s for s in self.samples if s[1] >= FLOWS_BYTES and s[0] <= until_ns]
        if len(flowing) < 10:
            return None
        (start, first), (end, last) = flowing[0], flowing[-1]
        return (last - first) * 1e9 / (end - start)


def costs(before, started, ended):
    """What a write and a probe of the guest took meanwhile, and before, in ns."""
    def each(new, old, n):
        return (new[n + 1] - old[n + 1]) / (new[n] - old[n]) if new[n] > old[n] else None

    ns = {}
    for name, n in (('write', 0), ('probe', 2)):
        ns[f'{name}_ns'] = each(ended, started, n)
        ns[f'{name}_before_ns'] = each(started, before, n)
    return ns


class Bed:
    def __init__(self):
        self.network = Network()
        self.guest = None
        self.n = 0

    def _start(self, host, parameters, *options):
        self.n += 1
        return Guest(f'bench{self.n}', host, parameters, *options)

    def boot(self, parameters):
        self.stop()
        self.parameters = parameters
        self.guest = self._start('near', parameters)
        self.guest.wait_for_load()

    def stop(self):
        if self.guest:
            self.guest.stop()
        self.guest = None

    def move(self, mover, rate, limit_ms, patience):
        """Move the guest once; what that took. If it does not converge it stays."""
        source = self.guest
        self.network.shape(source.host, rate)
        destination = self._start(other(source.host), self.parameters, '-incoming',
                                  'defer', *mover.destination)
        moved = False
        try:
            mover.receive(source, destination, limit_ms)
            result = self._measure(mover, source, destination, patience)
            moved = result['converged']
        finally:
            left = source if moved else destination
            left.stop()
        self.guest = destination if moved else source
        return result

    def _measure(self, mover, source, destination, patience):
        before = source.cost()
        time.sleep(SETTLE_SECONDS)
        source.qmp.forget()
        started = source.cost()
        used = -host_cpu(), -source.cpu() - destination.cpu()
        begun_ns, flow = time.time_ns(), Flow(self.network)
        try:
            converged = mover.move(source, destination, patience)
        finally:
            flow.stop()
        result = {
            'converged': converged,
            'wire_bytes': flow.bytes(),
            'host_cpu_seconds': used[0] + host_cpu(),
            **costs(before, started, source.cost()),
        }
        if not converged:
            result['bytes_per_second'] = flow.rate(time.time_ns())
            return result
        stopped = event_ns(source.qmp.wait(lambda e: e['event'] == 'STOP', 5))
        resumed = event_ns(destination.qmp.wait(lambda e: e['event'] == 'RESUME', 5))
        checkpoints = source.checkpoints(begun_ns) | destination.checkpoints(begun_ns)
        parts = mover.parts(checkpoints)
        return result | {
            'cpu_seconds': used[1] + source.cpu() + destination.cpu() + mover.cpu(),
            'total_ns': resumed - begun_ns,
            'bytes_per_second': flow.rate(stopped),
            'downtime_ns': sum(parts.values()),
            **{f'downtime_{name}_ns': ns for name, ns in parts.items()},
            'checkpoints': {name: when - begun_ns for name, when in checkpoints.items()},
        }


def medians(results):
    """Of each number by itself, of those that converged."""
    moved = [r for r in results if r['converged']] or results
    row = {'converged': sum(r['converged'] for r in results), 'runs': len(results)}
    for name in moved[0]:
        values = [r[name] for r in moved if r[name] is not None]
        if name not in ('converged', 'checkpoints'):
            row[name] = statistics.median(values) if values else None
    return row
