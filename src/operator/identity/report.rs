//! The conditions of an OpenStackCloud that say what was found, and the Event when one of them changes.

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;

use super::{Finding, Grounds};
use crate::api::OpenStackCloud;
use crate::api::cloud::OpenStackCloudStatus;
use crate::api::condition::{Conditions, Kind, State, find};
use crate::kubernetes::event::Tone;
use crate::operator::context::Context;

/// The reason of `IdentityEnforced` when it does not hold; a decision that it holds back has the same word.
const UNENFORCED: &str = "IdentityUnenforced";
/// The reason of `CRDOutdated` when it holds, and of Ready then.
const OUTDATED: &str = "CRDOutdated";

/// The status `next` of a cloud with IdentityEnforced and CRDOutdated in it. With outdated kinds the cloud is not Ready, whatever else is said of it.
pub(in super::super) fn conditions(grounds: &Grounds, cloud: &OpenStackCloud, mut next: OpenStackCloudStatus, now: Timestamp) -> OpenStackCloudStatus {
    // From what stands there and not from `next`: what is overruled below must not look like a change each time.
    let current = cloud.status.as_ref().map(|status| status.conditions.as_slice()).unwrap_or_default();
    let mut own = Conditions::of(current, cloud.metadata.generation, now);
    let mut kinds = vec![Kind::IdentityEnforced, Kind::CRDOutdated];
    match (&grounds.identity, grounds.unenforced()) {
        (_, None) => own.set(Kind::IdentityEnforced, State::True, "Enforced", "admission policies tie each sentinel to its own node"),
        (Finding::NotRead, Some(why)) => own.set(Kind::IdentityEnforced, State::Unknown, "NotRead", why),
        (_, Some(why)) => own.set(Kind::IdentityEnforced, State::False, UNENFORCED, why),
    };
    match (&grounds.kinds, grounds.outdated()) {
        (_, None) => own.set(Kind::CRDOutdated, State::False, "UpToDate", ""),
        (Finding::NotRead, Some(why)) => own.set(Kind::CRDOutdated, State::Unknown, "NotRead", why),
        (_, Some(why)) => {
            kinds.extend([Kind::Ready, Kind::Reconciling, Kind::Stalled]);
            own.set(Kind::Ready, State::False, OUTDATED, why.clone());
            own.set(Kind::Reconciling, State::False, "NotReconciling", "");
            own.set(Kind::Stalled, State::True, OUTDATED, why.clone());
            own.set(Kind::CRDOutdated, State::True, "FieldsMissing", why)
        }
    };
    let own = own.finish();
    for condition in kinds.iter().filter_map(|kind| find(&own, *kind)) {
        put(&mut next.conditions, condition);
    }
    next
}

fn put(conditions: &mut Vec<Condition>, condition: &Condition) {
    match conditions.iter_mut().find(|other| other.type_ == condition.type_) {
        Some(slot) => slot.clone_from(condition),
        None => conditions.push(condition.clone()),
    }
}

/// An Event for each of the two conditions that has changed with the status that was just written.
pub(in super::super) async fn tell(context: &Context, cloud: &OpenStackCloud, next: &OpenStackCloudStatus) {
    let before = cloud.status.as_ref().map(|status| status.conditions.as_slice()).unwrap_or_default();
    for (kind, good) in [(Kind::IdentityEnforced, State::True), (Kind::CRDOutdated, State::False)] {
        let Some(condition) = find(&next.conditions, kind) else { continue };
        let earlier = find(before, kind).map(|earlier| earlier.status.as_str());
        let is_good = condition.status == good.as_str();
        // At the first look only what is wrong is news.
        if earlier == Some(condition.status.as_str()) || (is_good && earlier.is_none()) || condition.status == State::Unknown.as_str() {
            continue;
        }
        let tone = if is_good { Tone::Normal } else { Tone::Warning };
        context.events.publish(cloud, tone, "Compare", &condition.reason, &condition.message).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cloud() -> OpenStackCloud {
        let spec = serde_json::from_value(serde_json::json!({"credentials": {"secretRef": {"name": "s"}, "cloud": "c"}})).unwrap();
        OpenStackCloud::new("c", spec)
    }

    fn ready(now: Timestamp) -> OpenStackCloudStatus {
        let mut conditions = Conditions::of(&[], None, now);
        conditions.set(Kind::Ready, State::True, "Usable", "");
        OpenStackCloudStatus { conditions: conditions.finish(), ..OpenStackCloudStatus::default() }
    }

    fn grounds(identity: &[&str], kinds: &[&str]) -> Grounds {
        let finding = |lacks: &[&str]| Finding::of(lacks.iter().map(|text| (*text).to_owned()).collect());
        Grounds { identity: finding(identity), kinds: finding(kinds) }
    }

    #[track_caller]
    fn assert_condition(status: &OpenStackCloudStatus, kind: Kind, state: State, part: &str) {
        let condition = find(&status.conditions, kind).unwrap();
        assert_eq!(condition.status, state.as_str(), "{condition:?}");
        assert!(condition.message.contains(part), "{condition:?}");
    }

    #[test]
    fn a_missing_policy_is_named_and_leaves_the_cloud_ready_for_people() {
        let now = Timestamp::UNIX_EPOCH;
        let status = conditions(&grounds(&["ValidatingAdmissionPolicy p is missing"], &[]), &cloud(), ready(now), now);
        assert_condition(&status, Kind::IdentityEnforced, State::False, "ValidatingAdmissionPolicy p is missing");
        assert_condition(&status, Kind::CRDOutdated, State::False, "");
        assert_condition(&status, Kind::Ready, State::True, "");
    }

    #[test]
    fn a_missing_field_is_named_and_the_cloud_is_not_ready_and_nothing_changes_until_it_is_there() {
        let now = Timestamp::UNIX_EPOCH;
        let grounds = grounds(&[], &["OpenStackCloud.spec.x"]);
        let first = conditions(&grounds, &cloud(), ready(now), now);
        assert_condition(&first, Kind::IdentityEnforced, State::True, "");
        assert_condition(&first, Kind::CRDOutdated, State::True, "OpenStackCloud.spec.x");
        assert_condition(&first, Kind::Ready, State::False, "OpenStackCloud.spec.x");
        assert_condition(&first, Kind::Stalled, State::True, "");
        let mut object = cloud();
        object.status = Some(first.clone());
        let later = Timestamp::from_second(600).unwrap();
        assert_eq!(conditions(&grounds, &object, ready(later), later), first);
    }
}
