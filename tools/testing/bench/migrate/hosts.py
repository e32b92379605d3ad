# SPDX-License-Identifier: GPL-2.0-or-later
"""The guest that is moved, in the QEMU that has it or waits for it."""
import calendar
import os
import re
import subprocess
import sys
import time

from network import on

GUEST_DIR = f'{os.path.dirname(os.path.realpath(__file__))}/../../guest'
sys.path.insert(0, GUEST_DIR)

from qmp_client import Qmp  # noqa: E402

MEMORY = '128M'
BOOT_SECONDS = 180
# When which part of the downtime ended, by QEMU's word.
TRACES = ('-msg', 'timestamp=on', '-trace', 'vmstate_downtime_checkpoint',
          '-trace', 'vmstate_downtime_load')
COST = re.compile(r'^load: (\d+) pages in (\d+) ns, (\d+) probes in (\d+) ns\r?\n', re.M)
TRACE = re.compile(r'(?P<second>\S+)\.(?P<us>\d{6})Z '
                   r'(?:vmstate_downtime_checkpoint (?P<checkpoint>\S+)$|'
                   r'vmstate_downtime_load type=iterable idstr=ram )')


def trace_ns(match):
    second = time.strptime(match['second'], '%Y-%m-%dT%H:%M:%S')
    return calendar.timegm(second) * 1000000000 + int(match['us']) * 1000


def cpu_of(stat):
    """Seconds of a process or thread, by its stat in /proc."""
    with open(stat, encoding='utf-8') as file:
        fields = file.read().rsplit(')', 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf('SC_CLK_TCK')


def host_cpu():
    """Seconds that all but guests have used."""
    with open('/proc/stat', encoding='utf-8') as file:
        user, nice, system, _, _, irq, softirq, _, guest, guest_nice = map(
            int, file.readline().split()[1:11])
    return (user + nice + system + irq + softirq - guest - guest_nice) / os.sysconf(
        'SC_CLK_TCK')


class Guest:
    def __init__(self, name, host, parameters, *options):
        self.name, self.host = name, host
        subprocess.run(on(host, f'{GUEST_DIR}/guest', 'start', name, '-m', MEMORY, '-a',
                          f'load=1 {parameters}', '--', *TRACES, *options), check=True)
        with open(f'/run/{name}.pid', encoding='utf-8') as file:
            self.pid = int(file.read())
        self.qmp = Qmp(f'/run/{name}.observer')
        self.vcpus = [cpu['thread-id'] for cpu in self.qmp.execute('query-cpus-fast')]

    def wait_for_load(self):
        subprocess.run([f'{GUEST_DIR}/guest', 'wait', self.name, str(BOOT_SECONDS), '^load: '],
                       check=True)

    def set(self, capabilities, parameters):
        self.qmp.execute('migrate-set-capabilities', {'capabilities': [
            {'capability': name, 'state': state} for name, state in capabilities.items()]})
        self.qmp.execute('migrate-set-parameters', parameters)

    def cpu(self):
        """Seconds of QEMU, without what the guest's CPUs take."""
        return cpu_of(f'/proc/{self.pid}/stat') - sum(
            cpu_of(f'/proc/{self.pid}/task/{cpu}/stat') for cpu in self.vcpus)

    def cost(self):
        """What the guest has counted so far, see load.h."""
        with open(f'/run/{self.name}.serial', encoding='utf-8', errors='replace',
                  newline='') as file:
            lines = COST.findall(file.read())
        return [int(number) for number in lines[-1]] if lines else None

    def checkpoints(self, since_ns):
        """When, in ns since 1970, QEMU got where in the downtime, by its log."""
        at = {}
        with open(f'/run/{self.name}.log', encoding='utf-8') as file:
            for line in file:
                match = TRACE.match(line)
                when = match and trace_ns(match)
                if when and when >= since_ns:
                    at[match['checkpoint'] or 'dst-ram-loaded'] = when
        return at

    def stop(self):
        self.qmp.close()
        subprocess.run([f'{GUEST_DIR}/guest', 'stop', self.name], check=True)
