"""How a test steers the driver while it runs: JSON files in <state_dir>/ctl, read again at every step.

default.json holds for every server, host-<source host>.json for those that leave or boot on this host, <server uuid>.json
for one server; a later one of the three wins, key by key. A file that is missing or not JSON counts as empty, so write
it under another name and rename it. The keys:

    bandwidth     MiB/s that the source host sends, shared by its migrations
    dirty_rate    MiB/s that the guest writes to its memory
    memory_mb     MiB of memory to copy, instead of the flavor's
    hold          true: copy, but never converge
    stall         true: send nothing
    hold_spawn    true: do not finish booting
    after_rollback  error: after an abort or a failure of the copy, raise once more, as the libvirt driver of Nova 33 and 34
    fail          where to fail: check_destination, check_source, pre, during, raise, post_destination, spawn, cold
    fail_at       for `during` and `raise`: the share of the memory that is sent before (0.5)
    fail_host     fail only if this is the destination
    times         fail only so many times per server; how often it did is counted in <server uuid>.count
"""
import json
import os


class Control:
    """The control files as one host sees them."""

    def __init__(self, state_dir, host):
        self.folder = os.path.join(state_dir, 'ctl')
        self.host = host
        os.makedirs(self.folder, exist_ok=True)

    def knobs(self, uuid):
        """What the files say about a server now, as a dict."""
        knobs = {}
        for name in ('default', 'host-' + self.host, uuid):
            knobs.update(self._read(name + '.json'))
        return knobs

    def strikes(self, uuid, step, destination=None):
        """True if the server shall fail at this step now. Counts it, if `times` bounds how often."""
        knobs = self.knobs(uuid)
        if knobs.get('fail') != step:
            return False
        if 'fail_host' in knobs and destination != knobs['fail_host']:
            return False
        if 'times' not in knobs:
            return True
        count = self._count(uuid)
        if count >= int(knobs['times']):
            return False
        with open(self._path(uuid + '.count'), 'w') as file:
            file.write('%d\n' % (count + 1))
        return True

    def _path(self, name):
        return os.path.join(self.folder, name)

    def _read(self, name):
        try:
            with open(self._path(name)) as file:
                return json.load(file)
        except (OSError, ValueError):
            return {}

    def _count(self, uuid):
        try:
            with open(self._path(uuid + '.count')) as file:
                return int(file.read())
        except (OSError, ValueError):
            return 0
