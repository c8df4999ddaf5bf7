"""The driver itself: nova.virt.fake.FakeDriver with guests that persist (guests.py), migrations that take their time and
report it (precopy.py), and failures on demand (control.py).

Of FakeDriver it keeps what a server without network and volumes never meets.
"""
import json
import threading
import time

from oslo_config import cfg

from nova.compute import power_state
import nova.conf
from nova import exception
from nova.objects import fields
from nova.virt import fake
from nova.virt import hardware
from nova.virt import node
from nova.virt.simulated.control import Control
from nova.virt.simulated.guests import Guest
from nova.virt.simulated.guests import Guests
from nova.virt.simulated.precopy import PreCopy

CONF = nova.conf.CONF
CONF.register_opts([
    cfg.StrOpt('state_dir', required=True, help='where hosts/ and ctl/ are'),
    cfg.IntOpt('vcpus', default=64),
    cfg.IntOpt('memory_mb', default=262144),
    cfg.IntOpt('disk_gb', default=2000),
    cfg.FloatOpt('bandwidth', default=2048.0, help='MiB/s that a host sends, shared by the migrations that leave it'),
    cfg.FloatOpt('dirty_rate', default=64.0, help='MiB/s that a guest writes to its memory'),
], group='simulated')

MIB = 1024 * 1024
SETUP = 0.2  # s from the start of a migration to its first byte
TICK = 0.2  # s between two steps of a migration
SOURING = 0.9  # s from the end of a roll-back to the error that `after_rollback` asks for
REPORT = 1.0  # s between two writes of its progress

RUNNING, PAUSED, SHUTDOWN, SUSPENDED = (
    power_state.STATE_MAP[state] for state in (
        power_state.RUNNING, power_state.PAUSED, power_state.SHUTDOWN, power_state.SUSPENDED))
POWER_STATES = {name: state for state, name in power_state.STATE_MAP.items()}


class Job:
    """What Nova's API asked of a migration that runs."""

    def __init__(self):
        self.abort = threading.Event()
        self.force = threading.Event()


class SimulatedDriver(fake.FakeDriver):
    """One host."""

    vcpus = property(lambda self: CONF.simulated.vcpus)
    memory_mb = property(lambda self: CONF.simulated.memory_mb)
    local_gb = property(lambda self: CONF.simulated.disk_gb)

    def init_host(self, host):
        super().init_host(host)
        self.instances = Guests(CONF.simulated.state_dir, host)
        self._control = Control(CONF.simulated.state_dir, host)
        self._jobs = {}

    # ---- the host ----

    def get_nodenames_by_uuid(self, refresh=False):
        # From the file that nova-compute itself keeps: a node that changed its identity at a restart would be refused.
        return {node.get_local_node_uuid(): self._host}

    def get_available_resource(self, nodename):
        guests = list(self.instances.values())
        used_gb = sum(guest.disk_gb for guest in guests)
        return {
            'uuid': node.get_local_node_uuid(),
            'hypervisor_type': 'QEMU',
            'hypervisor_version': 10000000,
            'hypervisor_hostname': nodename,
            'cpu_info': json.dumps({'arch': 'x86_64', 'vendor': 'AMD', 'model': 'EPYC', 'features': [],
                                    'topology': {'sockets': 1, 'cores': self.vcpus, 'threads': 1}}),
            'supported_instances': [
                (fields.Architecture.X86_64, fields.HVType.QEMU, fields.VMMode.HVM)],
            'numa_topology': None,
            'vcpus': self.vcpus,
            'vcpus_used': sum(guest.vcpus for guest in guests),
            'memory_mb': self.memory_mb,
            'memory_mb_used': sum(guest.memory_mb for guest in guests),
            'local_gb': self.local_gb,
            'local_gb_used': used_gb,
            'disk_available_least': self.local_gb - used_gb,
        }

    def get_host_uptime(self):
        # As the command of that name prints it; Nova's API takes the text apart.
        with open('/proc/uptime') as file:
            minutes = int(float(file.read().split()[0])) // 60
        return ' %s up %d days, %2d:%02d,  0 users,  load average: 0.00, 0.00, 0.00' % (
            time.strftime('%H:%M:%S'), minutes // 1440, minutes // 60 % 24, minutes % 60)

    # ---- guests ----

    def _add(self, instance, state):
        flavor = instance.flavor
        self.instances.put(instance.uuid, Guest(
            instance.name, state, flavor.vcpus, flavor.memory_mb, flavor.root_gb))

    def _set_state(self, instance, state):
        try:
            self.instances.set_state(instance.uuid, state)
        except KeyError:
            raise exception.InstanceNotFound(instance_id=instance.uuid)

    def get_info(self, instance, use_cache=True):
        guest = self.instances.get(instance.uuid)
        if guest is None:
            raise exception.InstanceNotFound(instance_id=instance.uuid)
        return hardware.InstanceInfo(state=POWER_STATES[guest.state])

    def spawn(self, context, instance, image_meta, injected_files, admin_password, allocations, network_info=None,
              block_device_info=None, power_on=True, accel_info=None):
        if self._control.strikes(instance.uuid, 'spawn', self._host):
            raise exception.NovaException('the test wants this spawn to fail')
        while self._control.knobs(instance.uuid).get('hold_spawn'):
            time.sleep(TICK)
        self._add(instance, RUNNING if power_on else SHUTDOWN)

    def destroy(self, context, instance, network_info, block_device_info=None, destroy_disks=True,
                destroy_secrets=True):
        self.instances.discard(instance.uuid)

    def power_off(self, instance, timeout=0, retry_interval=0):
        self._set_state(instance, SHUTDOWN)

    def power_on(self, context, instance, network_info, block_device_info=None, accel_info=None, share_info=None):
        self._set_state(instance, RUNNING)

    def pause(self, instance):
        self._set_state(instance, PAUSED)

    def unpause(self, instance):
        self._set_state(instance, RUNNING)

    def suspend(self, context, instance):
        self._set_state(instance, SUSPENDED)

    def resume(self, context, instance, network_info, block_device_info=None, share_info=None):
        self._set_state(instance, RUNNING)

    def unrescue(self, context, instance):
        self._set_state(instance, RUNNING)

    # ---- cold migration ----

    def migrate_disk_and_power_off(self, context, instance, dest, flavor, network_info, block_device_info=None,
                                   timeout=0, retry_interval=0):
        if self._control.strikes(instance.uuid, 'cold', dest):
            # So wrapped, the server keeps its state, as after a failure before anything was done to its disk.
            raise exception.InstanceFaultRollback(
                exception.NovaException('the test wants the source to keep this server'))
        self._set_state(instance, SHUTDOWN)

    def finish_revert_migration(self, context, instance, network_info, migration, block_device_info=None,
                                power_on=True, share_info=None):
        self._add(instance, RUNNING if power_on else SHUTDOWN)

    # ---- live migration, in the order in which Nova calls ----

    def check_can_live_migrate_destination(self, context, instance, src_compute_info, dst_compute_info,
                                           block_migration=False, disk_over_commit=False):
        if self._control.strikes(instance.uuid, 'check_destination', self._host):
            raise exception.MigrationPreCheckError(reason='the test wants %s to refuse' % self._host)
        data = super().check_can_live_migrate_destination(
            context, instance, src_compute_info, dst_compute_info, block_migration, disk_over_commit)
        # As libvirt with local disks: nothing is shared, so "auto" means that the disks are copied too.
        data.is_shared_block_storage = False
        data.is_shared_instance_path = False
        if block_migration is None:
            data.block_migration = True
        return data

    def check_can_live_migrate_source(self, context, instance, dest_check_data, block_device_info=None):
        if self._control.strikes(instance.uuid, 'check_source'):
            raise exception.MigrationPreCheckError(reason='the test wants the source to refuse')
        return dest_check_data

    def pre_live_migration(self, context, instance, block_device_info, network_info, disk_info, migrate_data):
        if self._control.strikes(instance.uuid, 'pre', self._host):
            raise exception.NovaException('the test wants the preparation on %s to fail' % self._host)
        return migrate_data

    def live_migration(self, context, instance, dest, post_method, recover_method, block_migration=False,
                       migrate_data=None):
        if instance.uuid not in self.instances:
            raise exception.InstanceNotRunning(instance_id=instance.uuid)
        job = self._jobs[instance.uuid] = Job()
        try:
            outcome = self._copy(instance, dest, job, migrate_data.migration)
        finally:
            del self._jobs[instance.uuid]
        if outcome == 'completed':
            # The guest runs there now, whatever Nova still has to do and may fail to do.
            self.instances.move(instance.uuid, dest)
            post_method(context, instance, dest, block_migration, migrate_data)
        else:
            recover_method(context, instance, dest, migrate_data, migration_status=outcome)
            if self._control.knobs(instance.uuid).get('after_rollback') == 'error':
                # What the libvirt driver of Nova 33 and 34 does: its job's own error comes out after the roll-back.
                time.sleep(SOURING)
                raise exception.NovaException('operation aborted: job \'migration out\' canceled by client')

    def _copy(self, instance, dest, job, migration):
        """Copies the memory. Returns how the migration ends: completed, cancelled or failed."""
        copy = PreCopy(self._rate(instance, 'memory_mb', instance.flavor.memory_mb))
        if job.abort.wait(SETUP):
            return 'cancelled'
        last = reported = time.monotonic()
        self._report(instance, migration, copy)
        while not copy.done:
            if job.abort.wait(TICK):
                return 'cancelled'
            now = time.monotonic()
            self._step(instance, job, copy, now - last)
            last = now
            if copy.share_sent >= float(self._control.knobs(instance.uuid).get('fail_at', 0.5)):
                if self._control.strikes(instance.uuid, 'during', dest):
                    self._report(instance, migration, copy)
                    return 'failed'
                if self._control.strikes(instance.uuid, 'raise', dest):
                    self._report(instance, migration, copy)
                    raise exception.NovaException('the test wants this migration to break')
            if now - reported >= REPORT:
                reported = now
                self._report(instance, migration, copy)
        self._report(instance, migration, copy)
        return 'completed'

    def _step(self, instance, job, copy, seconds):
        knobs = self._control.knobs(instance.uuid)
        if job.force.is_set():
            copy.stop_guest()
        bandwidth = 0.0 if knobs.get('stall') else (
            self._rate(instance, 'bandwidth', CONF.simulated.bandwidth) / max(1, len(self._jobs)))
        copy.advance(seconds, bandwidth, self._rate(instance, 'dirty_rate', CONF.simulated.dirty_rate),
                     converges=not knobs.get('hold'))

    def _rate(self, instance, name, default):
        """A figure from the control files, else from the flavor's extra spec sim:NAME, else the default."""
        specs = instance.flavor.extra_specs
        return float(self._control.knobs(instance.uuid).get(name, specs.get('sim:' + name, default)))

    def _report(self, instance, migration, copy):
        """Writes the progress where the libvirt driver writes it, in bytes; no disk is copied here."""
        migration.memory_total = int(copy.total * MIB)
        migration.memory_processed = int(copy.sent * MIB)
        migration.memory_remaining = int(copy.remaining * MIB)
        migration.disk_total = migration.disk_processed = migration.disk_remaining = 0
        migration.save()
        instance.progress = max(0, 100 - round(copy.remaining * 100 / copy.total))
        instance.save()

    def live_migration_abort(self, instance):
        job = self._jobs.get(instance.uuid)
        if job is None:
            raise exception.InstanceNotRunning(instance_id=instance.uuid)
        job.abort.set()

    def live_migration_force_complete(self, instance):
        job = self._jobs.get(instance.uuid)
        if job is not None:
            job.force.set()

    def post_live_migration(self, context, instance, block_device_info, migrate_data=None):
        """Nothing is left to clean up on the source: the guest went with the switch."""

    def post_live_migration_at_source(self, context, instance, network_info):
        """No network interface to unplug."""

    def post_live_migration_at_destination(self, context, instance, network_info, block_migration=False,
                                           block_device_info=None):
        if self._control.strikes(instance.uuid, 'post_destination', self._host):
            raise exception.NovaException('the test wants the work after the switch to fail')
        if instance.uuid not in self.instances:
            raise exception.InstanceNotFound(instance_id=instance.uuid)
