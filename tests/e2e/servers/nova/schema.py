"""Creates Nova's schemas and registers its two cells: what nova-manage does in four calls, in one process, because each
call costs 3 s of imports.

    schema.py --config-file nova.conf --config-file database.conf

The cells are registered as templates, which every reader fills in from its own configuration. So the databases do not
know on which port they are served, and can be copied to any run.
"""
import os
import sys

# nova-manage would patch the process for eventlet, which nothing here uses.
os.environ['OS_NOVA_DISABLE_EVENTLET_PATCHING'] = '1'

from nova.cmd import manage  # noqa: E402
from nova import config  # noqa: E402
from nova import objects  # noqa: E402

URL = '{scheme}://{username}:{password}@{hostname}:{port}/'


def check(failed, what):
    if failed:
        sys.exit('%s failed' % what)


def main():
    config.parse_args(['nova-manage'] + sys.argv[1:])
    objects.register_all()
    cells = manage.CellV2Commands()
    check(manage.ApiDbCommands().sync(), 'creating the API schema')
    check(cells.map_cell0(URL + 'nova_cell0?{query}'), 'registering cell0')
    check(cells.create_cell(name='cell1', transport_url=URL, database_connection=URL + 'nova_cell1?{query}'),
          'registering cell1')
    check(manage.DbCommands().sync(), 'creating the schemas of the cells')


if __name__ == '__main__':
    main()
