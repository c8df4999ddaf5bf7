//! The status of a HostReport, and the Event that copies each change of judgement.

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use kube::ResourceExt as _;

use super::observe::Seen;
use crate::api::condition::{Conditions, Kind, State, find};
use crate::api::report::{HostReportStatus, SensorHealth};
use crate::api::{HostReport, HostReportSpec};
use crate::kubernetes::event::Tone;
use crate::kubernetes::status;
use crate::operator::context::Context;
use crate::operator::failure::Failure;
use crate::silence::fleet::{Cause, Standing};

/// The reason of SensorSilent while nothing is heard of the sentinel.
pub(super) const SENTINEL_SILENT: &str = "SentinelSilent";
/// The reason of SensorSilent while the sentinel says that a sensor is dead.
pub(super) const SENSOR_DEAD: &str = "SensorDead";

/// The status that says what was seen.
pub(super) fn status(report: &HostReport, seen: &Seen, now: Timestamp) -> HostReportStatus {
    let current = report.status.clone().unwrap_or_default();
    // The judgement is about the node, not about one version of the report: a report that only tells new figures must change nothing.
    let mut conditions = Conditions::of(&current.conditions, None, now);
    let (cloud, host) = match &seen.place {
        Some(Ok(place)) => {
            conditions.set(Kind::Mapped, State::True, "Mapped", format!("the node is host {} of OpenStackCloud {}", place.host, place.cloud));
            (Some(place.cloud.clone()), Some(place.host.to_string()))
        }
        Some(Err(unmapped)) => {
            conditions.set(Kind::Mapped, State::False, "Unmapped", &unmapped.0);
            (None, None)
        }
        None => (current.cloud, current.host),
    };
    silence(&mut conditions, &current.conditions, report, seen);
    HostReportStatus { cloud, host, conditions: conditions.finish() }
}

fn silence(conditions: &mut Conditions, current: &[Condition], report: &HostReport, seen: &Seen) {
    let unheard = format!("nothing was heard of the sentinel for {:?}: its Lease was not renewed", seen.silent_after);
    match seen.standing {
        Standing::Silent(Cause::SentinelSilent) => {
            let remedy = "see whether the node, the sentinel's pod and their network are well, and who stopped it";
            conditions.set(Kind::SensorSilent, State::True, SENTINEL_SILENT, format!("{unheard}; {remedy}"))
        }
        Standing::Silent(Cause::SensorDead) => conditions.set(Kind::SensorSilent, State::True, SENSOR_DEAD, dead_sensors(&report.spec)),
        Standing::OneOfMany(cause) => {
            let what = if cause == Cause::SensorDead { dead_sensors(&report.spec) } else { unheard };
            let message =
                format!("{what}; too many fell silent at once to take it for a sign of an attack: see condition SentinelsUnreachable of the OpenStackCloud");
            conditions.set(Kind::SensorSilent, State::Unknown, "SentinelsUnreachable", message)
        }
        Standing::Heard => conditions.set(Kind::SensorSilent, State::False, "Heard", "its Lease is renewed, and no sensor is dead"),
        // What was judged stays, until it is judged otherwise.
        Standing::Pending if find(current, Kind::SensorSilent).is_some_and(|now| now.status != State::Unknown.as_str()) => conditions,
        Standing::Pending => {
            let message = format!("no renewal of its Lease was seen yet; silence is judged after {:?}", seen.silent_after);
            conditions.set(Kind::SensorSilent, State::Unknown, "NotHeardYet", message)
        }
    };
}

/// Which sensors are dead, and why.
fn dead_sensors(spec: &HostReportSpec) -> String {
    let dead = spec.sensors.iter().filter(|sensor| sensor.health == SensorHealth::Dead);
    let told: Vec<String> = dead.map(|sensor| format!("sensor {} is dead: {}", sensor.name, sensor.message)).collect();
    if told.is_empty() { "a sensor is dead".to_owned() } else { told.join("; ") }
}

/// Writes the status where it differs from what stands there, with an Event when a silence begins or ends.
pub(super) async fn write(context: &Context, report: &HostReport, next: &HostReportStatus) -> Result<(), Failure> {
    if report.status.as_ref() == Some(next) {
        return Ok(());
    }
    status::apply(&context.api(), report, next).await?;
    let before = report.status.as_ref().and_then(|status| find(&status.conditions, Kind::SensorSilent));
    let Some(now) = find(&next.conditions, Kind::SensorSilent) else { return Ok(()) };
    let was_silent = before.is_some_and(|before| before.status == State::True.as_str());
    let is_silent = now.status == State::True.as_str();
    let is_same = before.is_some_and(|before| before.reason == now.reason);
    if is_silent && !is_same {
        tracing::warn!(node = report.name_any(), host = next.host, reason = now.reason, why = now.message, "A host has fallen silent.");
        context.events.publish(report, Tone::Warning, "Listen", &now.reason, &now.message).await;
    } else if was_silent && !is_silent {
        tracing::info!(node = report.name_any(), host = next.host, "A silent host is heard again.");
        context.events.publish(report, Tone::Normal, "Listen", &now.reason, &now.message).await;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::alert::decision::{Place, Unmapped};

    fn report() -> HostReport {
        let spec = serde_json::json!({"node": "n1", "version": "1", "sensors": [
            {"name": "a", "engine": "suricata", "path": "/a", "lost": 0, "health": "Healthy"},
            {"name": "b", "engine": "snort", "path": "/b", "lost": 0, "health": "Dead", "message": "there is no alert file"}]});
        HostReport::new("n1", serde_json::from_value(spec).unwrap())
    }

    fn seen(standing: Standing) -> Seen {
        let place = Place { cloud: "c".into(), host: "h".into() };
        Seen { place: Some(Ok(place)), standing, silent_after: Duration::from_secs(40) }
    }

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    /// The report with this status.
    fn with(status: HostReportStatus) -> HostReport {
        HostReport { status: Some(status), ..report() }
    }

    #[track_caller]
    fn assert_silent(status: &HostReportStatus, state: State, reason: &str, part: &str) {
        let condition = find(&status.conditions, Kind::SensorSilent).unwrap();
        assert_eq!((condition.status.as_str(), condition.reason.as_str()), (state.as_str(), reason));
        assert!(condition.message.contains(part), "{}", condition.message);
    }

    #[test]
    fn each_standing_has_its_words() {
        let said = |standing| status(&report(), &seen(standing), at(0));
        assert_silent(&said(Standing::Silent(Cause::SentinelSilent)), State::True, "SentinelSilent", "for 40s");
        assert_silent(&said(Standing::Silent(Cause::SensorDead)), State::True, "SensorDead", "sensor b is dead: there is no alert file");
        assert_silent(&said(Standing::OneOfMany(Cause::SentinelSilent)), State::Unknown, "SentinelsUnreachable", "OpenStackCloud");
        assert_silent(&said(Standing::Heard), State::False, "Heard", "");
        assert_silent(&said(Standing::Pending), State::Unknown, "NotHeardYet", "after 40s");
    }

    #[test]
    fn what_was_judged_stays_while_nobody_can_say() {
        let silent = with(status(&report(), &seen(Standing::Silent(Cause::SentinelSilent)), at(0)));
        assert_silent(&status(&silent, &seen(Standing::Pending), at(9)), State::True, "SentinelSilent", "");
        let many = with(status(&report(), &seen(Standing::OneOfMany(Cause::SentinelSilent)), at(0)));
        assert_silent(&status(&many, &seen(Standing::Pending), at(9)), State::Unknown, "NotHeardYet", "");
    }

    #[test]
    fn where_the_node_belongs_is_told_and_kept_until_every_cloud_was_read() {
        let mapped = status(&report(), &seen(Standing::Heard), at(0));
        assert_eq!((mapped.cloud.as_deref(), mapped.host.as_deref()), (Some("c"), Some("h")));
        let after_a_start = status(&with(mapped.clone()), &Seen { place: None, ..seen(Standing::Heard) }, at(9));
        assert_eq!(after_a_start, mapped);
        let nowhere = status(&with(mapped), &Seen { place: Some(Err(Unmapped("no such host".into()))), ..seen(Standing::Heard) }, at(9));
        assert_eq!((nowhere.cloud.as_deref(), find(&nowhere.conditions, Kind::Mapped).unwrap().message.as_str()), (None, "no such host"));
    }

    #[test]
    fn a_report_with_new_figures_makes_the_same_status() {
        let first = status(&report(), &seen(Standing::Heard), at(0));
        let mut grown = with(first.clone());
        grown.metadata.generation = Some(7);
        assert_eq!(status(&grown, &seen(Standing::Heard), at(500)), first);
    }
}
