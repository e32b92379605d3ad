#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""The specification is enough to talk to the module: the kernel's own ynl does
it, and each event looks as in events.json, to ynl and in migctl monitor -j.
YNL names the kernel's tools/net/ynl, MIGCTL the program."""
import contextlib
import json
import mmap
import os
import pathlib
import signal
import subprocess
import sys
import tempfile
import time

HERE = pathlib.Path(__file__).resolve().parent
YNL = pathlib.Path(os.environ.get('YNL', '/opt/linux/tools/net/ynl'))
MIGCTL = os.environ.get('MIGCTL', 'migctl')
SLOW = int(os.environ.get('MIGTRACK_SLOW', '1'))
SPEC = str(HERE / 'migtrack.yaml')
MIB = 1 << 20
NS = 10**9
TESTS = []


def test(function):
    TESTS.append(function)
    return function


def same(got, wanted):
    if got != wanted:
        raise AssertionError(f'got    {got}\n# wanted {wanted}')


def family():
    return YnlFamily(SPEC, '')


def cli(*args):
    run = subprocess.run([sys.executable, YNL / 'pyynl/cli.py', '--spec', SPEC,
                          '--no-schema', '--output-json', *args],
                         stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
                         timeout=60 * SLOW, check=False)
    if run.returncode:
        said = (run.stdout + run.stderr).strip()
        raise AssertionError(said.replace('\n', '\n# '))
    return run.stdout


# ---- a session with something of each kind ----

class Memory:
    def __init__(self):
        self.fd = os.memfd_create('guest')
        os.ftruncate(self.fd, MIB)
        self.map = mmap.mmap(self.fd, 0)

    def close(self):
        self.map.close()
        os.close(self.fd)


class Session:
    def __init__(self):
        self.ynl = family()
        reply = self.ynl.do('session-new', {})
        self.id, self.fd = reply['id'], reply['fd']

    def of_session(self, command, attrs):
        return self.ynl.do(command, {'fd': self.fd, **attrs})

    def of_source(self, command, attrs):
        return self.ynl.do(command, {'session-fd': self.fd, **attrs})

    def sync(self, kind):
        self.of_session('sync', {'sync-kind': kind})
        os.read(self.fd, 8)

    def close(self):
        os.close(self.fd)


def until(condition):
    """It comes about sooner or later."""
    end = time.monotonic() + 60 * SLOW
    while not condition():
        if time.monotonic() > end:
            raise AssertionError('it does not come about')
        time.sleep(0.1)


def says(file, *words):
    """Somebody writes to it, and all these words are there, in this order."""
    text, at = os.pread(file.fileno(), 1 << 26, 0).decode(), 0
    for word in words:
        at = text.find(word, at)
        if at < 0:
            return False
    return True


def drive():
    """Everything that sends an event, once."""
    session = Session()
    first = session.of_source('source-add', {'type': 'reported', 'max-age': 2 * NS})
    session.of_source('source-report', {'id': first['id'], 'precopy': 3 * MIB,
                                        'stopcopy': MIB, 'dirty-rate': 7,
                                        'flags': ['exact']})
    until(lambda: 'stale' in session.ynl.do('source-get', {
        'session-id': session.id, 'id': first['id']})['flags'])
    session.sync('setup')
    session.sync('iteration')
    session.of_session('session-set', {
        'phase': 'precopy', 'bandwidth': 5 * MIB, 'bandwidth-source': 'measured',
        'downtime-limit': 300000000, 'expected-downtime': 800000000,
        'verdict': 'move', 'reason': 'stall'})
    session.of_source('source-report', {'id': first['id'], 'precopy': 2**64 - 1,
                                        'flags': ['gone']})
    memory = Memory()
    ram = session.of_source('source-add', {'type': 'ram', 'pid': os.getpid(),
                                           'mem-fd': memory.fd})
    session.of_source('source-del', {'id': ram['id']})
    memory.close()
    session.close()


# ---- what is not the same each time ----

VARIES = {'time', 'sync-time', 'sync-duration', 'time_ns', 'sync_ns'}


def settle(events, session_key, seq_key):
    """The events of the one session, numbers from 1 on, times as 1."""
    base = min(event[seq_key] for event in events) - 1
    ids = {event[key] for event in events for key in session_key if key in event}
    if len(ids) != 1:
        raise AssertionError(f'events of sessions {sorted(ids)}')
    for event in events:
        for key in session_key:
            if key in event:
                event[key] = 1
        event[seq_key] -= base
        for key in VARIES & event.keys():
            event[key] = event[key] and 1
        if 'flags' in event:
            event['flags'] = sorted(event['flags'])
    return events


def golden(kind):
    with open(HERE / 'events.json', encoding='utf-8') as file:
        return json.load(file)[kind]


def compare(kind, events):
    if 'WRITE_EVENTS' in os.environ:
        with open(os.environ['WRITE_EVENTS'] + kind, 'w', encoding='utf-8') as file:
            json.dump(events, file)
    wanted = golden(kind)
    for got, want in zip(events, wanted):
        same(got, want)
    same(len(events), len(wanted))


def subscribed(process):
    """Is one of its generic netlink sockets in a multicast group?"""
    with open('/proc/net/netlink', encoding='ascii') as file:
        rows = [line.split() for line in file][1:]
    return any(row[1] == '16' and row[2] == str(process.pid) and int(row[3], 16)
               for row in rows)


@contextlib.contextmanager
def background(argv, out):
    process = subprocess.Popen(argv, stdout=out, stderr=subprocess.STDOUT)
    try:
        end = time.monotonic() + 60 * SLOW
        while not subscribed(process):
            if process.poll() is not None or time.monotonic() > end:
                raise AssertionError(f'{argv} does not subscribe')
            time.sleep(0.1)
        yield process
    finally:
        if process.poll() is None:
            process.send_signal(signal.SIGINT)
        process.wait(30 * SLOW)


# ---- the tests ----

@test
def cli_does():
    session = Session()
    session.of_source('source-add', {'type': 'reported'})
    session.of_source('source-report', {'id': 0, 'precopy': 2**40, 'postcopy': 5})
    got = json.loads(cli('--do', 'session-get', '--json', json.dumps({'id': session.id})))
    same({key: got[key] for key in ('id', 'iteration', 'precopy', 'postcopy', 'stopcopy',
                                    'total', 'sources', 'syncs')},
         {'id': session.id, 'iteration': 0, 'precopy': 2**40, 'postcopy': 5,
          'stopcopy': 0, 'total': 2**40 + 5, 'sources': 1, 'syncs': 0})
    got = json.loads(cli('--do', 'source-get', '--json',
                         json.dumps({'session-id': session.id, 'id': 0})))
    same((got['type'], got['total'], got['max-age']), ('reported', 2**40 + 5, 10 * NS))
    # One of its own; it ends with the process.
    got = json.loads(cli('--do', 'session-new'))
    same(sorted(got), ['fd', 'id'])
    same(got['id'] > session.id, True)
    session.close()


@test
def cli_is_refused():
    try:
        cli('--do', 'session-get', '--json', json.dumps({'id': 2**63}))
    except AssertionError as error:
        same('no such session in this network namespace' in str(error), True)
        return
    raise AssertionError('a session that never was')


@test
def cli_dumps():
    sessions = [Session() for _ in range(20)]
    for i in range(20):
        sessions[0].of_source('source-add', {'type': 'reported'})
        sessions[0].of_source('source-report', {'id': i, 'stopcopy': i})
    got = json.loads(cli('--dump', 'session-get'))
    same([one['id'] for one in got if one['id'] >= sessions[0].id],
         [session.id for session in sessions])
    got = json.loads(cli('--dump', 'source-get', '--json',
                         json.dumps({'session-id': sessions[0].id})))
    same([(one['id'], one['stopcopy']) for one in got], [(i, i) for i in range(20)])
    for session in sessions:
        session.close()


@test
def cli_subscribes():
    with tempfile.TemporaryFile('w+') as out:
        argv = [sys.executable, YNL / 'pyynl/cli.py', '--spec', SPEC, '--no-schema',
                '--output-json', '--subscribe', 'events', '--duration', str(20 * SLOW)]
        with background(argv, out) as process:
            drive()
            process.wait(120 * SLOW)
        out.seek(0)
        # A line for each, or one list.
        text = out.read()
        events = [json.loads(line) for line in text.splitlines() if line.strip()]
        if len(events) == 1 and isinstance(events[0], list):
            events = events[0]
    messages = [{'name': event['name'], **event['msg']} for event in events]
    for message in messages:
        # A session calls itself id, a source its session session-id.
        message.setdefault('session-id', message.get('id'))
        if message['name'] != 'source-change-ntf':
            message.pop('id')
    compare('ynl', settle(messages, ['session-id'], 'event-seq'))


@test
def migctl_monitors():
    with tempfile.TemporaryFile('w+') as out:
        with background([MIGCTL, 'monitor', '-j'], out):
            drive()
            until(lambda: says(out, 'session-del'))
            time.sleep(SLOW)
        out.seek(0)
        events = [json.loads(line) for line in out]
    compare('migctl', settle(events, ['session_id'], 'event_seq'))


@test
def migctl_says_that_events_were_lost():
    session = Session()
    session.of_source('source-add', {'type': 'reported'})
    with tempfile.TemporaryFile('w+') as out, tempfile.TemporaryFile('w+') as text:
        with background([MIGCTL, 'monitor', '-j'], out) as listener, \
             background([MIGCTL, 'monitor'], text) as reader:
            listener.send_signal(signal.SIGSTOP)
            reader.send_signal(signal.SIGSTOP)
            for i in range(1, 3001):
                session.of_source('source-report', {'id': 0, 'precopy': i})
            listener.send_signal(signal.SIGCONT)
            reader.send_signal(signal.SIGCONT)
            until(lambda: says(out, '"lost"', 'session-state', '"remaining_bytes":3000') and
                  says(text, 'Events were lost', 'session-state'))
            session.of_source('source-report', {'id': 0, 'precopy': 5000})
            until(lambda: says(out, '"remaining_bytes":5000'))
        out.seek(0)
        text.seek(0)
        rows = [json.loads(line) for line in out]
        lines = text.read()
    lost = [i for i, row in enumerate(rows) if row['type'] == 'lost']
    same(len(lost) > 0, True)
    # What it read anew has all that was lost in it.
    state = [row for row in rows[lost[0] + 1:] if row.get('event') == 'session-state'
             and row['session_id'] == session.id]
    same(state[0]['remaining_bytes'], 3000)
    same(rows[-1]['remaining_bytes'], 5000)
    same('Events were lost; the sessions as they are now:' in lines, True)
    same('session-state' in lines, True)
    session.close()


def main():
    if os.getuid() or not (YNL / 'pyynl').is_dir():
        print("1..0 # SKIP needs root and the kernel's tools/net/ynl")
        return 4
    print('TAP version 13')
    print(f'1..{len(TESTS)}')
    failed = 0
    for number, function in enumerate(TESTS, 1):
        try:
            function()
            print(f'ok {number} {function.__name__}', flush=True)
        except Exception as error:  # pylint: disable=broad-exception-caught
            failed = 1
            print(f'# {type(error).__name__}: {error}')
            print(f'not ok {number} {function.__name__}', flush=True)
    return failed


if __name__ == '__main__':
    sys.path.append(str(YNL / 'pyynl'))
    sys.dont_write_bytecode = True
    from lib import YnlFamily
    sys.exit(main())
