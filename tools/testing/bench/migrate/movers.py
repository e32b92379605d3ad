# SPDX-License-Identifier: GPL-2.0-or-later
"""Those that move a guest: QEMU in its ways, and migctl.

receive() readies the destination, move() moves the guest, or gives up after a time,
and parts() says what the downtime went to, in ns, by itself or by QEMU's checkpoints.
"""
import json
import os
import subprocess
import time

from network import ADDRESS, on

PORT = 4711
MIGCTL = os.environ.get('MIGCTL', '/build/lab/migctl')
ENDED = 'completed', 'failed', 'cancelled'
OUT = '/run/bench-migrate'
NOT_CONVERGED = 10  # an exit code of migctl's


class Qemu:
    """precopy, or multifd with so many channels."""

    # Options of a QEMU that waits.
    destination = ()

    def __init__(self, channels=0, compression='none'):
        self.channels, self.compression = channels, compression

    def receive(self, source, destination, limit_ms):
        parameters = {'downtime-limit': limit_ms, 'max-bandwidth': 0}
        if self.channels:
            parameters |= {'multifd-channels': self.channels,
                           'multifd-compression': self.compression}
        for guest in source, destination:
            guest.set({'events': True, 'multifd': bool(self.channels)}, parameters)
        self.uri = f'tcp:{ADDRESS[destination.host]}:{PORT}'
        destination.qmp.execute('migrate-incoming', {'uri': self.uri})

    def move(self, source, destination, patience):
        def ended(event):
            return event['event'] == 'MIGRATION' and event['data']['status'] in ENDED

        source.qmp.execute('migrate', {'uri': self.uri})
        event = source.qmp.wait(ended, patience)
        if not event:
            source.qmp.execute('migrate_cancel')
            event = source.qmp.wait(ended, 30)
        return event['data']['status'] == 'completed'

    def cpu(self):
        return 0

    def parts(self, at):
        """From the stop to the load of the last of the memory, of the devices, to the
        guest that runs: by QEMU's own trace points, of both sides."""
        return {
            'stop': at['src-vm-stopped'] - at['src-downtime-start'],
            'copy': at['dst-ram-loaded'] - at['src-vm-stopped'],
            'devices': at['dst-precopy-loadvm-completed'] - at['dst-ram-loaded'],
            'resume': at['dst-precopy-bh-vm-started'] - at['dst-precopy-loadvm-completed'],
        }


class Migctl:
    destination = '-S',

    def __init__(self, channels=2, compress='none', verify='off'):
        self.options = [f'--channels={channels}', f'--compress={compress}',
                        f'--verify={verify}']
        self.receiver = None

    def receive(self, source, destination, limit_ms):
        for guest in source, destination:
            guest.set({'multifd': False}, {})
        self.limit_ms = limit_ms
        self.address = f'{ADDRESS[destination.host]}:{PORT}'
        self.used = 0
        # Of a guest that died.
        if self.receiver and self.receiver.poll() is None:
            self.receiver.kill()
            self.receiver.wait()
        self.receiver = self._start(destination, 'receive', '--listen', self.address)
        for _ in range(200):
            with open(f'{OUT}.receive', encoding='utf-8') as said:
                if 'waits for a guest' in said.read():
                    return
            time.sleep(0.1)
        raise RuntimeError('migctl receive does not listen')

    def _start(self, guest, verb, *options):
        with open(f'{OUT}.{verb}', 'w', encoding='utf-8') as out:
            return subprocess.Popen(
                on(guest.host, MIGCTL, verb, '--qmp', f'/run/{guest.name}.qmp',
                   '--insecure', *options), stdout=out, stderr=subprocess.STDOUT)

    def _end(self, process):
        """Its exit code; what it used, and the processes that it made, is counted."""
        _, status, used = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        self.used += used.ru_utime + used.ru_stime
        return process.returncode

    def move(self, source, destination, patience):
        migrate = self._start(source, 'migrate', '-j', '--to', self.address, '--downtime',
                              f'{self.limit_ms}ms', '--timeout', f'{patience}s',
                              *self.options)
        status = self._end(migrate)
        self._end(self.receiver)
        with open(f'{OUT}.migrate', encoding='utf-8') as out:
            said = out.read()
        if status == NOT_CONVERGED:
            return False
        if status:
            raise RuntimeError(f'migctl migrate has failed: {said}')
        lines = [json.loads(line) for line in said.splitlines()]
        self.summary = next(line for line in lines if line['type'] == 'summary')
        return True

    def cpu(self):
        return self.used

    def parts(self, _):
        took = {name: self.summary[f'downtime_{name}_ns']
                for name in ('stop', 'sync', 'copy', 'devices', 'resume')}
        took['copy'] += took.pop('sync')
        return took


MOVERS = {
    'precopy': Qemu(),
    'multifd1': Qemu(1),
    'multifd2': Qemu(2),
    'multifd4': Qemu(4),
    'multifd-zstd': Qemu(2, 'zstd'),
    'migctl': Migctl(),
    'migctl-zstd': Migctl(compress='zstd'),
    'migctl-verify': Migctl(verify='after'),
}
