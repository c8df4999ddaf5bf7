//! What a cloud's status says of its sentinels: that too many fell silent at once. One condition and one Event, however many they are; none of them makes an alert meanwhile.

use kube::ResourceExt as _;

use crate::api::OpenStackCloud;
use crate::api::cloud::OpenStackCloudStatus;
use crate::api::condition::{Conditions, Kind, State, find, is_true};
use crate::kubernetes::event::Tone;
use crate::operator::context::Context;
use crate::operator::reports::Fleet;

/// At most so many nodes are named.
const NAMED_MAX: usize = 10;

pub(super) fn condition(conditions: &mut Conditions, fleet: Option<&Fleet>) {
    match fleet {
        None => conditions.set(Kind::SentinelsUnreachable, State::Unknown, "NotHeardYet", "the sentinels' Leases were not looked at yet"),
        Some(fleet) if fleet.many => {
            let message = format!(
                "{} of {} hosts fell silent at once ({}), so silence makes no HostAlert until they are back: look at the network between the hosts and the API server, and at what was changed on all of them. Alerts of sensors are decided as usual",
                fleet.silent.len(),
                fleet.total,
                named(&fleet.silent)
            );
            conditions.set(Kind::SentinelsUnreachable, State::True, "ManySilentAtOnce", message)
        }
        Some(fleet) if fleet.silent.is_empty() => conditions.set(Kind::SentinelsUnreachable, State::False, "Heard", ""),
        Some(fleet) => {
            let message = format!("{} of {} hosts are silent: {}", fleet.silent.len(), fleet.total, named(&fleet.silent));
            conditions.set(Kind::SentinelsUnreachable, State::False, "FewSilent", message)
        }
    };
}

fn named(nodes: &[String]) -> String {
    let some: Vec<&str> = nodes.iter().take(NAMED_MAX).map(String::as_str).collect();
    let more = if nodes.len() > NAMED_MAX { ", …" } else { "" };
    format!("{}{more}", some.join(", "))
}

/// One Event when it begins and one when it is over. `cloud` is as it was before `next` was written.
pub(super) async fn tell(context: &Context, cloud: &OpenStackCloud, next: &OpenStackCloudStatus) {
    let before = cloud.status.as_ref().is_some_and(|status| is_true(&status.conditions, Kind::SentinelsUnreachable));
    let Some(now) = find(&next.conditions, Kind::SentinelsUnreachable) else { return };
    let begins = now.status == State::True.as_str() && !before;
    if begins {
        tracing::error!(cloud = cloud.name_any(), why = now.message, "Too many hosts fell silent at once.");
        context.events.publish(cloud, Tone::Warning, "Listen", "SentinelsUnreachable", &now.message).await;
    } else if before && now.status == State::False.as_str() {
        tracing::info!(cloud = cloud.name_any(), "The sentinels are heard again.");
        context.events.publish(cloud, Tone::Normal, "Listen", "SentinelsHeard", "the sentinels are heard again").await;
    }
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;
    use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;

    use super::*;

    fn said(fleet: Option<&Fleet>) -> Condition {
        let mut conditions = Conditions::of(&[], None, Timestamp::UNIX_EPOCH);
        condition(&mut conditions, fleet);
        conditions.finish().remove(0)
    }

    fn fleet(silent: usize, many: bool) -> Fleet {
        Fleet { total: 20, silent: (0..silent).map(|number| format!("n{number}")).collect(), many }
    }

    #[test]
    fn many_are_told_in_one_condition_that_names_some() {
        let told = said(Some(&fleet(20, true)));
        assert_eq!((told.status.as_str(), told.reason.as_str()), ("True", "ManySilentAtOnce"));
        assert!(told.message.starts_with("20 of 20 hosts fell silent at once (n0, n1,") && told.message.contains("n9, …)"), "{}", told.message);
    }

    #[test]
    fn few_are_named_and_no_fault() {
        let told = said(Some(&fleet(1, false)));
        assert_eq!((told.status.as_str(), told.reason.as_str(), told.message.as_str()), ("False", "FewSilent", "1 of 20 hosts are silent: n0"));
        assert_eq!(said(Some(&fleet(0, false))).reason, "Heard");
        assert_eq!(said(None).status, "Unknown");
    }
}
