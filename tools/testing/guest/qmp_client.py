# SPDX-License-Identifier: GPL-2.0-or-later
"""A QEMU is asked by QMP, and its events are waited for."""
import json
import socket
import time

ANSWER_SECONDS = 20


class QmpError(RuntimeError):
    pass


class Qmp:
    """A connection to a QEMU's socket."""

    def __init__(self, path):
        self.buffer = b''
        self.events = []
        self.socket = socket.socket(socket.AF_UNIX)
        self.socket.connect(path)
        self._receive(ANSWER_SECONDS)
        self.execute('qmp_capabilities')

    def _receive(self, seconds):
        """The next object, or None if there is none for so long."""
        end = time.monotonic() + seconds
        while b'\n' not in self.buffer:
            self.socket.settimeout(max(end - time.monotonic(), 0.001))
            try:
                data = self.socket.recv(65536)
            except TimeoutError:
                return None
            if not data:
                raise QmpError('QEMU has ended')
            self.buffer += data
        line, self.buffer = self.buffer.split(b'\n', 1)
        return json.loads(line)

    def execute(self, command, arguments=None):
        """What it returns."""
        request = {'execute': command}
        if arguments:
            request['arguments'] = arguments
        self.socket.sendall(json.dumps(request).encode() + b'\n')
        while answer := self._receive(ANSWER_SECONDS):
            if 'return' in answer:
                return answer['return']
            if 'error' in answer:
                raise QmpError(f'{command}: {answer["error"]["desc"]}')
            self.events.append(answer)
        raise QmpError(f'{command}: no answer in {ANSWER_SECONDS} s')

    def wait(self, wanted, seconds):
        """The first event that fits @wanted(event), or None; others are kept."""
        end = time.monotonic() + seconds
        looked = 0
        while True:
            for n in range(looked, len(self.events)):
                if wanted(self.events[n]):
                    return self.events.pop(n)
            looked = len(self.events)
            event = self._receive(max(end - time.monotonic(), 0))
            if not event:
                return None
            self.events.append(event)

    def forget(self):
        """The events so far."""
        while event := self._receive(0):
            self.events.append(event)
        self.events.clear()

    def close(self):
        self.socket.close()


def event_ns(event):
    """When it was, in ns since 1970."""
    when = event['timestamp']
    return when['seconds'] * 1000000000 + when['microseconds'] * 1000
