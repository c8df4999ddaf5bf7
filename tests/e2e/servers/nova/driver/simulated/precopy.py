"""Pre-copy as numbers: the first round copies the whole memory, each next one what the guest wrote meanwhile, until the
rest fits into the downtime that is allowed. Then the guest stops, the rest follows, and the copy is done.

Pure arithmetic in MiB and seconds: no clock, no thread, no Nova.
"""

MAX_DOWNTIME = 0.3  # s, QEMU's default


class PreCopy:
    """The memory of one guest on its way."""

    def __init__(self, total):
        self.total = float(total)
        self.sent = 0.0
        self.round_left = self.total
        self.dirty = 0.0
        self.stopped = False
        self.done = False

    @property
    def remaining(self):
        """MiB that the destination lacks. Falls and rises; a page that was written again before it was sent counts once."""
        return min(self.total, self.round_left + self.dirty)

    @property
    def share_sent(self):
        """MiB sent so far as a share of the memory; more than 1 when there are several rounds."""
        return self.sent / self.total

    def stop_guest(self):
        """The guest writes nothing from now on, so that the copy must end."""
        self.stopped = True

    def advance(self, seconds, bandwidth, dirty_rate, converges=True):
        """Lets time pass at these rates in MiB/s. Unless it converges, the guest writes at least as fast as is sent, and
        no round is ever the last."""
        if not self.stopped:
            written = seconds * (dirty_rate if converges else max(dirty_rate, bandwidth))
            self.dirty = min(self.total, self.dirty + written)
        budget = bandwidth * seconds
        while budget > 0 and not self.done:
            step = min(budget, self.round_left)
            self._send(step)
            budget -= step
            if self.round_left > 0:
                return
            if (converges or self.stopped) and self.dirty <= bandwidth * MAX_DOWNTIME:
                self._finish()
            elif self.dirty > 0:
                self.round_left, self.dirty = self.dirty, 0.0
            else:
                return

    def _send(self, amount):
        self.round_left -= amount
        self.sent += amount

    def _finish(self):
        self.sent += self.dirty
        self.dirty = 0.0
        self.done = True
