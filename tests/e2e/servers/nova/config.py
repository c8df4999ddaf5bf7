"""Writes the configuration of every service of a run, and its clouds.yaml.

    config.py RUN_DIR VENV

Reads the ports, the secret and the hosts from RUN_DIR/env, where `up` noted them. Everything lands in RUN_DIR/etc, one
folder per service; RUN_DIR/clouds.yaml is how a client reaches the cloud.

The names of the options are those of the services' own references; what stands here differs from their defaults for a
reason, and the reason stands beside it.
"""
import base64
import os
import pathlib
import sys

SERVICE_USER = 'service-user'
# Levels where the default says more than anybody reads: one line per request, which the access log has already.
QUIET = '''\
default_log_levels = amqp=WARN, amqplib=WARN, keystoneauth=WARN, nova.api.openstack.requestlog=WARN, \
oslo.messaging=INFO, placement.requestlog=WARN, sqlalchemy=WARN, stevedore=CRITICAL, urllib3.connectionpool=WARN
'''


def read_env(path):
    """The KEY=VALUE lines of a file, as a dict."""
    lines = (line.partition('=') for line in path.read_text().splitlines())
    return {key: value for key, _, value in lines}


class Config:
    """The settings of one run, and the texts made from them."""

    def __init__(self, run, venv):
        self.run = run
        self.venv = venv
        self.env = read_env(run / 'env')
        self.auth_url = 'http://127.0.0.1:%s/v3' % self.env['KEYSTONE_PORT']

    def database(self, name):
        return 'mysql+pymysql://openstack:%s@127.0.0.1:%s/%s?charset=utf8mb4' % (
            self.env['SECRET'], self.env['DATABASE_PORT'], name)

    def write(self, name, text):
        path = self.run / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        path.chmod(0o600)

    def login(self):
        """How a service logs in to Keystone; the same lines in many sections."""
        return f'''\
auth_type = password
auth_url = {self.auth_url}
username = {SERVICE_USER}
password = {self.env['SECRET']}
project_name = service
user_domain_id = default
project_domain_id = default
region_name = RegionOne
'''

    def token_check(self):
        """How a service checks the tokens of its callers."""
        return f'''\
[keystone_authtoken]
{self.login()}www_authenticate_uri = {self.auth_url}
service_token_roles = service
service_token_roles_required = true
'''

    def mariadb(self):
        # Runs at every start, before the first client is served.
        self.write('etc/mariadb/init.sql', f'''\
CREATE OR REPLACE USER openstack@'127.0.0.1' IDENTIFIED BY '{self.env['SECRET']}';
GRANT ALL ON *.* TO openstack@'127.0.0.1';
''')
        # Nothing here outlives its run, so no write waits for the disk.
        self.write('etc/mariadb/my.cnf', f'''\
[mariadbd]
datadir = {self.run}/database
socket = mariadb.sock
pid_file = mariadb.pid
bind_address = 127.0.0.1
port = {self.env['DATABASE_PORT']}
init_file = {self.run}/etc/mariadb/init.sql
skip_name_resolve
skip_log_bin
performance_schema = OFF
max_connections = 1000
innodb_buffer_pool_size = 256M
innodb_log_file_size = 32M
innodb_flush_log_at_trx_commit = 0
innodb_doublewrite = 0
innodb_use_native_aio = 0
''')

    def rabbitmq(self):
        # The password keeps a compute that was left over from another run on the same port out of this one.
        self.write('etc/rabbitmq/rabbitmq.conf', f'''\
listeners.tcp.default = 127.0.0.1:{self.env['AMQP_PORT']}
default_user = openstack
default_pass = {self.env['SECRET']}
log.console = true
log.console.level = warning
log.file = false
vm_memory_high_watermark.absolute = 1GiB
disk_free_limit.absolute = 50MB
''')
        self.write('etc/rabbitmq/enabled_plugins', '[].\n')

    def keystone(self):
        for key in ('0', '1'):
            self.write('etc/keystone/keys/' + key, base64.urlsafe_b64encode(os.urandom(32)).decode())
        (self.run / 'etc/keystone/keys').chmod(0o700)
        # Password hashing at its cheapest (it takes 72 characters, or warns at every login) and a cache in the process (there is one process only): else Keystone is
        # the busiest of all, because every service logs in often.
        self.write('etc/keystone/keystone.conf', f'''\
[DEFAULT]
use_stderr = true
[database]
connection = {self.database('keystone')}
[token]
provider = fernet
[fernet_tokens]
key_repository = {self.run}/etc/keystone/keys
[fernet_receipts]
key_repository = {self.run}/etc/keystone/keys
[credential]
key_repository = {self.run}/etc/keystone/keys
[identity]
password_hash_rounds = 4
max_password_length = 72
[cache]
enabled = true
backend = oslo_cache.dict
''')

    def placement(self):
        self.write('etc/placement/placement.conf', f'''\
[DEFAULT]
{QUIET}[placement_database]
connection = {self.database('placement')}
{self.token_check()}''')

    def glance(self):
        data = self.run / 'glance'
        self.write('etc/glance/glance-api.conf', f'''\
[DEFAULT]
enabled_backends = files:file
[database]
connection = {self.database('glance')}
[glance_store]
default_backend = files
[files]
filesystem_store_datadir = {data}/images
[os_glance_staging_store]
filesystem_store_datadir = {data}/staging
[os_glance_tasks_store]
filesystem_store_datadir = {data}/tasks
[paste_deploy]
flavor = keystone
config_file = {self.venv}/etc/glance/glance-api-paste.ini
[oslo_concurrency]
lock_path = {self.run}/lock
{self.token_check()}''')

    def nova(self):
        self.write('etc/nova/api-paste.ini', (self.venv / 'etc/nova/api-paste.ini').read_text())
        # A compute counts as down after 20 s rather than 60, periodic tasks start without a random delay of up to 60 s,
        # and unmapped hosts are found every 2 s, so that tests need not wait. Quotas are off. Nobody waits for network
        # interfaces: no server has one.
        self.write('etc/nova/nova.conf', f'''\
[DEFAULT]
{QUIET}my_ip = 127.0.0.1
transport_url = rabbit://openstack:{self.env['SECRET']}@127.0.0.1:{self.env['AMQP_PORT']}/
state_path = {self.run}/nova
compute_driver = simulated.SimulatedDriver
max_concurrent_live_migrations = {self.env['MAX_LIVE_MIGRATIONS']}
report_interval = 5
service_down_time = 20
periodic_fuzzy_delay = 0
sync_power_state_interval = 60
# A server that its owner deletes can be restored for a day.
reclaim_instance_interval = 86400
reserved_host_memory_mb = 0
vif_plugging_is_fatal = false
vif_plugging_timeout = 0
[api]
# As behind a proxy that Nova was told a wrong name of: links lead nowhere, and a client must not follow them.
compute_link_prefix = https://proxy.invalid:1/compute
# Else a traceback for every migration that is asked for: Nova's own schema of its answers has no 0 bytes.
response_validation = ignore
[conductor]
workers = 1
[scheduler]
workers = 1
discover_hosts_in_cells_interval = 2
[image_cache]
manager_interval = -1
[vnc]
enabled = false
[quota]
instances = -1
cores = -1
ram = -1
[oslo_messaging_notifications]
driver = noop
[oslo_concurrency]
lock_path = {self.run}/lock
[simulated]
state_dir = {self.env['SIM_DIR']}
[placement]
{self.login()}[glance]
endpoint_override = http://127.0.0.1:{self.env['GLANCE_PORT']}
{self.login()}[neutron]
endpoint_override = http://127.0.0.1:{self.env['NETWORK_PORT']}
{self.login()}{self.token_check()}''')
        # Apart, because nova-compute must not see it: it would try the databases and complain that it may not.
        self.write('etc/nova/database.conf', f'''\
[api_database]
connection = {self.database('nova_api')}
[database]
connection = {self.database('nova_cell1')}
''')
        for host in self.env['HOSTS'].split(','):
            # The node's identity is kept under state_path, so each host needs its own.
            self.write(f'etc/nova/compute-{host}.conf', f'''\
[DEFAULT]
host = {host}
state_path = {self.run}/compute/{host}
''')
            (self.run / 'compute' / host).mkdir(parents=True, exist_ok=True)

    def clouds_yaml(self):
        self.write('clouds.yaml', f'''\
clouds:
  e2e:
    auth:
      auth_url: {self.auth_url}
      username: {self.env['ADMIN_USER']}
      password: {self.env['ADMIN_PASSWORD']}
      project_name: admin
      user_domain_name: Default
      project_domain_name: Default
    region_name: RegionOne
''')


def main():
    config = Config(pathlib.Path(sys.argv[1]), pathlib.Path(sys.argv[2]))
    for part in (config.mariadb, config.rabbitmq, config.keystone, config.placement, config.glance, config.nova,
                 config.clouds_yaml):
        part()


if __name__ == '__main__':
    main()
