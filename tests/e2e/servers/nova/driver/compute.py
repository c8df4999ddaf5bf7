"""nova-compute, with the folder of this file among those where Nova looks for virt drivers.

    compute.py --config-file nova.conf --config-file compute-HOST.conf

Nova loads `nova.virt.` + compute_driver. Extending that package's path in this process makes our driver found without
touching the installed Nova, which several checkouts share.
"""
import pathlib
import sys

# First: it decides about threads before anything else is imported.
from nova.cmd import compute

import nova.virt

nova.virt.__path__.append(str(pathlib.Path(__file__).parent))
sys.exit(compute.main())
