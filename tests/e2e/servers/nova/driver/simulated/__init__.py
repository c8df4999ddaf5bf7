"""A Nova virt driver whose guests exist only in JSON files, and whose live migrations copy memory that is not there, in
the time that real memory would take. compute_driver = simulated.SimulatedDriver.
"""
from nova.virt.simulated.driver import SimulatedDriver

__all__ = ['SimulatedDriver']
