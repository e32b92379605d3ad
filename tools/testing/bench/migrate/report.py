# SPDX-License-Identifier: GPL-2.0-or-later
"""The tables, and what was aimed at."""

COLUMNS = ('total', 'downtime', 'stop', 'copy', 'devices', 'resume', 'MiB', 'MiB/s',
           'CPU s', 'host', 'write us', 'slower', 'alone us')


def _number(value, scale, digits):
    return '-' if value is None else f'{value / scale:.{digits}f}'


def _slower(row):
    """How many times longer than before the guest computes at the same thing."""
    if row.get('probe_ns') and row.get('probe_before_ns'):
        return row['probe_ns'] / row['probe_before_ns']
    return None


def line(mover, row):
    """One migration, or the medians of some, in the order of COLUMNS."""
    cells = [_number(row.get('total_ns'), 1e9, 2)]
    cells += [_number(row.get(f'downtime{part}_ns'), 1e6, 0)
              for part in ('', '_stop', '_copy', '_devices', '_resume')]
    cells += [_number(row.get('wire_bytes'), 1 << 20, 1),
              _number(row.get('bytes_per_second'), 1 << 20, 1),
              _number(row.get('cpu_seconds'), 1, 2),
              _number(row.get('host_cpu_seconds'), 1, 2),
              _number(row.get('write_ns'), 1e3, 1), _number(_slower(row), 1, 2),
              _number(row.get('probe_before_ns'), 1e3, 0)]
    return f'{mover:14}' + ''.join(f'{cell:>9}' for cell in cells) + (
        '' if row['converged'] else '  not converged')


def _header(what):
    print(f'\n{what}\n{"":14}' + ''.join(f'{column:>9}' for column in COLUMNS))


def _best(rows, movers, name):
    """The lowest of what QEMU needs."""
    values = [row[name] for row in rows
              if row['mover'] in movers and row['converged'] and row.get(name) is not None]
    return min(values, default=None)


QEMU = 'precopy', 'multifd1', 'multifd2', 'multifd4'
QEMU_ZSTD = 'multifd-zstd',


class Goals:
    def __init__(self, got):
        self.got = got
        self.rows = {}
        for row in got['rows']:
            self.rows.setdefault((row['load'], row['link']), []).append(row)
        self.list = []

    def add(self, what, ratio, aim, most=True):
        reached = ratio <= aim if most else ratio >= aim
        self.list.append({'what': what, 'ratio': ratio, 'aim': aim, 'at_most': most,
                          'reached': reached})

    def against(self, what, rows, ours, theirs, name, aim):
        mine, best = _best(rows, (ours,), name), _best(rows, theirs, name)
        if mine is not None and best:
            self.add(what, mine / best, aim)

    def shaped(self):
        for (load, link), rows in self.rows.items():
            if link != 'shaped':
                continue
            for row in rows:
                if row['mover'] == 'migctl' and row.get('bytes_per_second'):
                    self.add(f'{load}: goodput, of the link',
                             row['bytes_per_second'] / self.got['link_bytes_per_second'],
                             0.95, most=False)
            self.against(f"{load}: bytes, times QEMU's best", rows, 'migctl', QEMU,
                         'wire_bytes', 1)
            self.against(f"{load}: bytes, zstd, times QEMU's", rows, 'migctl-zstd',
                         QEMU_ZSTD, 'wire_bytes', 1)

    def unshaped(self):
        for (load, link), rows in self.rows.items():
            if link == 'unshaped':
                self.against(f"{load}, unshaped: total time, times QEMU's best", rows,
                             'migctl', QEMU, 'total_ns', 0.8)

    def downtime(self):
        """Each at its lowest limit: what depends on the memory, and what does not."""
        lowest = {}
        for row in self.got['limits']:
            fixed = row['downtime_ns'] - row['downtime_copy_ns']
            lowest[row['mover']] = row | {'downtime_fixed_ns': fixed}
        rows = list(lowest.values())
        self.against("lowest limit: last sync and copy, times QEMU's best", rows, 'migctl',
                     QEMU, 'downtime_copy_ns', 0.5)
        self.against("lowest limit: fixed part, times QEMU's best", rows, 'migctl', QEMU,
                     'downtime_fixed_ns', 1.2)

    def all(self):
        self.shaped()
        self.unshaped()
        self.downtime()
        return self.list


def show(got):
    """On standard output; the goals go to @got, too."""
    print("\ntotal in s, downtime and its parts in ms; CPU s: migctl and QEMU without the"
          "\nguest's CPUs, host: all but guests; write us: what a write of the guest took,"
          "\nslower: times as long as before, the same computation in the guest; alone us: that"
          "\nbefore: if these differ the machine had more or less to do, and the rows can't be"
          "\ncompared")
    goals = Goals(got)
    for (load, link), rows in goals.rows.items():
        _header(f'{load}, {link} link')
        for row in rows:
            print(line(row['mover'], row))
    if got['limits']:
        _header('writer50, shaped link, by the downtime limit in ms')
        for row in got['limits']:
            print(line(f'{row["mover"]} {row["limit_ms"]}', row))
    got['goals'] = goals.all()
    print(f'\n{"":56}{"ratio":>7}{"aim":>10}')
    for goal in got['goals']:
        aim = f'{"<=" if goal["at_most"] else ">="} {goal["aim"]:.2f}'
        print(f'{goal["what"]:56}{goal["ratio"]:7.2f}{aim:>10}  '
              f'{"reached" if goal["reached"] else "not reached"}')
