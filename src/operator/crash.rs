//! Named points at which a test can make the operator end as a crash would, without unwinding and without another write.

use clap::ValueEnum;

/// Where the operator can be made to end.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(super) enum Point {
    /// An attempt stands in status; nothing was sent to Nova.
    AfterIntent,
    /// Nova has answered the request; the answer stands nowhere.
    AfterPost,
    /// It stands in status that a migration is to be aborted; nothing was sent to Nova.
    AfterAbortIntent,
    /// Nova has answered the abort.
    AfterAbort,
    /// It stands in status that a cold migration is to be confirmed; nothing was sent to Nova.
    AfterConfirmIntent,
    /// Nova has answered the confirmation.
    AfterConfirm,
}

/// Which point, if any, was asked for.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Crash(Option<Point>);

impl Crash {
    /// Ends the process at this point, or never.
    #[must_use]
    pub(super) fn at(point: Option<Point>) -> Self {
        Self(point)
    }

    /// Called where the point is.
    pub(super) fn here(self, point: Point) {
        if self.0 == Some(point) {
            tracing::error!(?point, "Ending here, as --crash-at asked.");
            std::process::abort();
        }
    }
}
