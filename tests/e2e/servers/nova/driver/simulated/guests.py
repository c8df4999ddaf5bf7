"""Where every guest really is: one JSON file per host, <state_dir>/hosts/<host>.json.

    {"<server uuid>": {"name": "instance-00000001", "state": "running", "vcpus": 1, "memory_mb": 2048, "disk_gb": 1}}

The files are the truth: they are read again for every question, and outlive the nova-compute that wrote them, as guests
outlive it on a real hypervisor. One lock over all hosts makes the switch of a live migration atomic: to those who hold
it, the guest is never on two hosts and never on none. Who reads without it may see the guest on both for a moment.
"""
import collections.abc
import contextlib
import dataclasses
import fcntl
import json
import os


@dataclasses.dataclass
class Guest:
    """One guest; state is one of running, paused, shutdown, suspended."""
    name: str
    state: str
    vcpus: int
    memory_mb: int
    disk_gb: int


class Guests(collections.abc.Mapping):
    """The guests of one host, by server uuid. A mapping, because nova.virt.fake wants one; written through the methods."""

    def __init__(self, state_dir, host):
        self.folder = os.path.join(state_dir, 'hosts')
        self.host = host
        os.makedirs(self.folder, exist_ok=True)
        with self._locked():
            if not os.path.exists(self._path(host)):
                self._write(host, {})

    def __getitem__(self, uuid):
        return self._read(self.host)[uuid]

    def __iter__(self):
        return iter(self._read(self.host))

    def __len__(self):
        return len(self._read(self.host))

    def put(self, uuid, guest):
        """Adds or replaces a guest."""
        with self._locked():
            self._write(self.host, {**self._read(self.host), uuid: guest})

    def set_state(self, uuid, state):
        """Changes a guest's state. Raises KeyError if it is not here."""
        with self._locked():
            guests = self._read(self.host)
            guests[uuid].state = state
            self._write(self.host, guests)

    def discard(self, uuid):
        """Removes a guest, if it is here."""
        with self._locked():
            guests = self._read(self.host)
            if guests.pop(uuid, None):
                self._write(self.host, guests)

    def move(self, uuid, destination):
        """Hands a guest over to another host. Raises KeyError if it is not here."""
        with self._locked():
            source, target = self._read(self.host), self._read(destination)
            target[uuid] = source.pop(uuid)
            self._write(destination, target)
            self._write(self.host, source)

    @contextlib.contextmanager
    def _locked(self):
        # Opened anew each time: then flock excludes the threads of this process as well as the other hosts.
        with open(os.path.join(self.folder, '.lock'), 'w') as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield

    def _path(self, host):
        return os.path.join(self.folder, host + '.json')

    def _read(self, host):
        with open(self._path(host)) as file:
            return {uuid: Guest(**guest) for uuid, guest in json.load(file).items()}

    def _write(self, host, guests):
        path = self._path(host)
        with open(path + '.new', 'w') as file:
            json.dump({uuid: dataclasses.asdict(guest) for uuid, guest in guests.items()}, file, indent=1)
        os.replace(path + '.new', path)
