//! The mode gate: Observe never writes to the cloud.

/// Proof that writing to the cloud was allowed. Only [`permit_writes`] makes one; `openstack::CloudControl` cannot be had without it, so that a write in mode Observe does not compile.
///
/// ```compile_fail
/// let forged = sidestep::gate::WritePermit(());
/// ```
#[derive(Clone, Copy, Debug)]
pub struct WritePermit(());

/// The permit that goes with a mode: one for Approve and Enforce, none for Observe. In mode Approve it serves to take the host out of service; a move waits for the approval besides.
#[must_use]
pub fn permit_writes(writes: bool) -> Option<WritePermit> {
    writes.then_some(WritePermit(()))
}
