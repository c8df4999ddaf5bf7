//! Makes the HostQuarantine that a decision asks for.

use std::collections::BTreeMap;

use jiff::Timestamp;
use kube::ResourceExt as _;
use kube::api::PostParams;

use crate::alert::decision::NewQuarantine;
use crate::api::quarantine::{TimelineEntry, TimelineEvent};
use crate::api::units::ClockName;
use crate::api::{FINALIZER, HostAlert, HostQuarantine};
use crate::kubernetes::status::FIELD_MANAGER;
use crate::operator::context::Context;
use crate::operator::failure::Failure;
use crate::quarantine;

/// The moments before a quarantine existed, kept as its annotations: name, event, clock.
const MOMENTS: [(&str, TimelineEvent, ClockName); 4] = [
    ("sidestep.dev/alert-written", TimelineEvent::AlertWritten, ClockName::Node),
    ("sidestep.dev/alert-read", TimelineEvent::AlertRead, ClockName::Node),
    ("sidestep.dev/alert-received", TimelineEvent::AlertReceived, ClockName::Operator),
    ("sidestep.dev/decided", TimelineEvent::Decided, ClockName::Operator),
];

/// Makes the quarantine. One of this name is this decision's own: its name is made from the events that were decided on.
pub(super) async fn make(context: &Context, alert: &HostAlert, new: &NewQuarantine, received: Timestamp) -> Result<(), Failure> {
    let mut object = HostQuarantine::new(&new.name, new.spec.clone());
    object.metadata.finalizers = Some(vec![FINALIZER.to_owned()]);
    object.metadata.annotations = Some(annotations(alert, received, context.clock.now()));
    let params = PostParams { field_manager: Some(FIELD_MANAGER.to_owned()), ..PostParams::default() };
    match context.api::<HostQuarantine>().create(&params, &object).await {
        Ok(made) => {
            tracing::info!(quarantine = new.name, host = new.spec.host, cloud = new.spec.cloud, reason = new.spec.reason, "Made a quarantine.");
            context.just_made(&made);
            Ok(())
        }
        Err(kube::Error::Api(answer)) if answer.reason == "AlreadyExists" => Ok(()),
        Err(error) => Err(Failure::kubernetes(format!("make HostQuarantine {} for HostAlert {}", new.name, alert.name_any()))(error)),
    }
}

fn annotations(alert: &HostAlert, received: Timestamp, decided: Timestamp) -> BTreeMap<String, String> {
    let spec = &alert.spec;
    let times = [spec.sensor_time.as_ref().map(|time| time.0), Some(spec.last_seen.0), Some(received), Some(decided)];
    let moments = MOMENTS.iter().zip(times);
    moments.filter_map(|((name, ..), time)| Some(((*name).to_owned(), format!("{:.6}", time?)))).collect()
}

/// The moments that stand in a quarantine's annotations. One that does not parse is left out.
pub(in super::super) fn moments_of(quarantine: &HostQuarantine) -> Vec<TimelineEntry> {
    let annotations = quarantine.annotations();
    MOMENTS.iter().filter_map(|(name, event, clock)| Some(quarantine::entry(*event, annotations.get(*name)?.parse().ok()?, *clock))).collect()
}
