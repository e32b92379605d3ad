# SPDX-License-Identifier: GPL-2.0-or-later
"""Two network namespaces, which stand for two hosts, and a link between them."""
import os
import re
import subprocess

ADDRESS = {'near': '192.0.2.1', 'far': '192.0.2.2'}
DELAY = '1ms'


def other(host):
    return 'far' if host == 'near' else 'near'


def on(host, *command):
    """The command, run in the network of a host."""
    return ['ip', 'netns', 'exec', host, *command]


def _run(*command, check=True):
    subprocess.run(command, check=check, stderr=None if check else subprocess.DEVNULL)


def _open_counters(host):
    """/proc/net/dev of its namespace, whatever namespace reads it."""
    here = os.open('/proc/thread-self/ns/net', os.O_RDONLY)
    there = os.open(f'/run/netns/{host}', os.O_RDONLY)
    os.setns(there, os.CLONE_NEWNET)
    try:
        return os.open('/proc/thread-self/net/dev', os.O_RDONLY)
    finally:
        os.setns(here, os.CLONE_NEWNET)
        os.close(here)
        os.close(there)


class Network:
    def __init__(self):
        for host in ADDRESS:
            _run('ip', 'netns', 'del', host, check=False)
            _run('ip', 'netns', 'add', host)
        _run('ip', 'link', 'add', 'link0', 'netns', 'near', 'type', 'veth',
             'peer', 'name', 'link0', 'netns', 'far')
        for host, address in ADDRESS.items():
            _run('ip', '-n', host, 'link', 'set', 'lo', 'up')
            _run('ip', '-n', host, 'addr', 'add', f'{address}/24', 'dev', 'link0')
            _run('ip', '-n', host, 'link', 'set', 'link0', 'up')
        self.counters = [_open_counters(host) for host in ADDRESS]

    def shape(self, sender, rate):
        """So many bytes a second from a host, 0: as many as there can be. What comes
        back, acknowledgements, is delayed."""
        for host in ADDRESS:
            _run('tc', '-n', host, 'qdisc', 'del', 'dev', 'link0', 'root', check=False)
        if not rate:
            return
        _run('tc', '-n', sender, 'qdisc', 'add', 'dev', 'link0', 'root', 'tbf',
             'rate', f'{rate * 8}bit', 'burst', '256k', 'latency', '50ms')
        _run('tc', '-n', other(sender), 'qdisc', 'add', 'dev', 'link0', 'root', 'netem',
             'delay', DELAY)

    def bytes(self):
        """What has gone over the link so far, both ways."""
        sent = 0
        for counters in self.counters:
            lines = os.pread(counters, 65536, 0).decode()
            sent += int(re.search(r'link0:((?:\s+\d+)+)', lines)[1].split()[8])
        return sent
