//! The mode gate: Observe never writes to the cloud.

/// Proof that writing to the cloud was allowed. Only [`permit_writes`] makes one; `openstack::CloudControl` cannot be had without it, so that a write in mode Observe does not compile.
///
/// ```compile_fail
/// let forged = sidestep::gate::WritePermit(());
/// ```
#[derive(Clone, Copy, Debug)]
pub struct WritePermit(());

/// The permit that goes with a mode: one for Enforce, none for Observe.
#[must_use]
pub fn permit_writes(enforce: bool) -> Option<WritePermit> {
    enforce.then_some(WritePermit(()))
}
