//! Sidestep: takes an attacked OpenStack compute host out of service and live-migrates its servers away.
