//! Makes the HostQuarantine that a decision asks for.

use std::collections::BTreeMap;

use jiff::Timestamp;
use kube::ResourceExt as _;
use kube::api::PostParams;

use crate::alert::decision::NewQuarantine;
use crate::api::quarantine::{TimelineEntry, TimelineEvent};
use crate::api::units::ClockName;
use crate::api::{FINALIZER, HostAlert, HostQuarantine};
use crate::gate::DECIDED;
use crate::kubernetes::answer;
use crate::kubernetes::status::FIELD_MANAGER;
use crate::operator::context::Context;
use crate::operator::failure::Failure;
use crate::quarantine;

/// The moments before a quarantine existed, kept as its annotations: name, event, clock.
const MOMENTS: [(&str, TimelineEvent, ClockName); 4] = [
    ("sidestep.dev/alert-written", TimelineEvent::AlertWritten, ClockName::Node),
    ("sidestep.dev/alert-read", TimelineEvent::AlertRead, ClockName::Node),
    ("sidestep.dev/alert-received", TimelineEvent::AlertReceived, ClockName::Operator),
    (DECIDED, TimelineEvent::Decided, ClockName::Operator),
];

/// Makes the quarantine. `received` is when the operator received the first event that it is about. One of this name is this decision's own: its name is made from the events that were decided on.
pub(super) async fn make(context: &Context, alert: &HostAlert, new: &NewQuarantine, received: Option<Timestamp>) -> Result<(), Failure> {
    let mut object = HostQuarantine::new(&new.name, new.spec.clone());
    object.metadata.finalizers = Some(vec![FINALIZER.to_owned()]);
    object.metadata.annotations = Some(annotations(alert, received, context.clock.now()));
    let params = PostParams { field_manager: Some(FIELD_MANAGER.to_owned()), ..PostParams::default() };
    match answer(context.api::<HostQuarantine>().create(&params, &object)).await {
        Ok(made) => {
            tracing::info!(quarantine = new.name, host = new.spec.host, cloud = new.spec.cloud, reason = new.spec.reason, "Made a quarantine.");
            context.just_made(&made);
            Ok(())
        }
        Err(kube::Error::Api(refusal)) if refusal.reason == "AlreadyExists" => Ok(()),
        Err(error) => Err(Failure::kubernetes(format!("make HostQuarantine {} for HostAlert {}", new.name, alert.name_any()))(error)),
    }
}

fn annotations(alert: &HostAlert, received: Option<Timestamp>, decided: Timestamp) -> BTreeMap<String, String> {
    let spec = &alert.spec;
    // Of a backlog, lastSeen is the sensor's stamp.
    let read = spec.read_at.as_ref().unwrap_or(&spec.last_seen).0;
    let times = [spec.sensor_time.as_ref().map(|time| time.0), Some(read), received, Some(decided)];
    let moments = MOMENTS.iter().zip(times);
    moments.filter_map(|((name, ..), time)| Some(((*name).to_owned(), format!("{:.6}", time?)))).collect()
}

/// The moments that stand in a quarantine's annotations. One that does not parse is left out.
pub(in super::super) fn moments_of(quarantine: &HostQuarantine) -> Vec<TimelineEntry> {
    let annotations = quarantine.annotations();
    MOMENTS.iter().filter_map(|(name, event, clock)| Some(quarantine::entry(*event, annotations.get(*name)?.parse().ok()?, *clock))).collect()
}

#[cfg(test)]
mod tests {
    use k8s_openapi::apimachinery::pkg::apis::meta::v1::MicroTime;

    use super::*;

    fn alert(sensor_time: Option<&str>) -> HostAlert {
        let mut spec = serde_json::json!({
            "node": "n", "series": "s", "seq": 1, "engine": "suricata", "ruleID": "1:1", "severity": "High", "subject": "-", "flow": "Established",
            "firstSeen": "2026-11-25T10:00:00.000001Z", "lastSeen": "2026-11-25T10:00:00.000001Z", "count": 1
        });
        if let Some(time) = sensor_time {
            spec["sensorTime"] = time.into();
        }
        HostAlert::new("n-00", serde_json::from_value(spec).unwrap())
    }

    fn quarantine(annotations: BTreeMap<String, String>) -> HostQuarantine {
        let spec = serde_json::from_value(serde_json::json!({"cloud": "c", "host": "h"})).unwrap();
        let mut object = HostQuarantine::new("q", spec);
        object.metadata.annotations = Some(annotations);
        object
    }

    fn at(text: &str) -> Timestamp {
        text.parse().unwrap()
    }

    #[test]
    fn the_moments_of_an_alert_survive_in_the_annotations() {
        let received = at("2026-11-25T10:00:00.1Z");
        let written = annotations(&alert(Some("2026-11-25T09:59:59.999999Z")), Some(received), at("2026-11-25T10:00:00.2Z"));
        let moments = moments_of(&quarantine(written));
        let seen: Vec<(TimelineEvent, String, ClockName)> = moments.iter().map(|entry| (entry.event, entry.time.0.to_string(), entry.clock)).collect();
        assert_eq!(
            seen,
            vec![
                (TimelineEvent::AlertWritten, "2026-11-25T09:59:59.999999Z".to_owned(), ClockName::Node),
                (TimelineEvent::AlertRead, "2026-11-25T10:00:00.000001Z".to_owned(), ClockName::Node),
                (TimelineEvent::AlertReceived, "2026-11-25T10:00:00.1Z".to_owned(), ClockName::Operator),
                (TimelineEvent::Decided, "2026-11-25T10:00:00.2Z".to_owned(), ClockName::Operator),
            ]
        );
    }

    #[test]
    fn a_stamp_that_the_sensor_did_not_give_is_absent() {
        let written = annotations(&alert(None), Some(at("2026-11-25T10:00:00Z")), at("2026-11-25T10:00:00Z"));
        assert!(moments_of(&quarantine(written)).iter().all(|entry| entry.event != TimelineEvent::AlertWritten));
    }

    #[test]
    fn an_event_of_a_backlog_was_read_when_it_was_read_and_not_when_it_was_written() {
        let mut alert = alert(Some("2026-11-25T10:00:00.000001Z"));
        alert.spec.read_at = Some(MicroTime(at("2026-11-25T10:09:00Z")));
        let written = annotations(&alert, None, at("2026-11-25T10:09:01Z"));
        let read = moments_of(&quarantine(written)).into_iter().find(|entry| entry.event == TimelineEvent::AlertRead).unwrap();
        assert_eq!(read.time.0, at("2026-11-25T10:09:00Z"));
    }

    #[test]
    fn an_annotation_that_a_person_broke_is_left_out() {
        let broken = BTreeMap::from([("sidestep.dev/decided".to_owned(), "yesterday".to_owned())]);
        assert!(moments_of(&quarantine(broken)).is_empty());
    }
}
