//! The plan of an incident and the agreement to it.
//!
//! A plan's digest names its servers and hosts. Its content is kept: the servers are those of the runs that carry the digest, the hosts stand in status. Less than what was approved never needs a new approval, so the
//! plan is made anew only when something was added to it: a server, a host, a stricter scope. Where no approval is needed, late arrivals join the plan that is there. In mode Observe it is
//! always the plan as it would be made now.

use super::NOT_REQUIRED;
use super::decide::Draft;
use super::drain::RunFacts;
use super::facts::PlanSight;
use crate::api::condition::{Kind, State};
use crate::api::quarantine::{PlanSummary, TimelineEvent};
use crate::api::units::{Mode, Scope};
use crate::inventory::ServerId;

/// The most hosts that status names.
const HOSTS_KEPT: usize = 1024;
/// The most approved plans that are remembered.
const APPROVALS_KEPT: usize = 16;

impl Draft<'_> {
    /// Takes over the plan where it is new or has grown, and judges the approval. Nothing when no plan can be made yet; else whether moves may start.
    pub(super) fn plan_and_approve(&mut self) -> Option<bool> {
        let needed = self.needs_approval();
        // A plan that was approved as it was shown counts, also where it has grown meanwhile.
        self.take_approval(needed.is_some());
        let Some(sight) = self.seen.plan else {
            if self.next.status.plan.is_none() {
                self.set(Kind::PlanReady, State::False, "Planning", "it is not known yet what the other hosts have room for");
                return None;
            }
            return Some(self.judge_approval(needed));
        };
        if self.must_plan_again(sight, needed.is_some()) {
            self.next.status.plan = Some(summary(sight, self.scope()));
        }
        self.take_approval(needed.is_some());
        let message = format!("{} servers may go to {} hosts, {} have nowhere to go", sight.moves.len(), sight.hosts.len(), sight.unplaced.len());
        self.set(Kind::PlanReady, State::True, "Planned", &message);
        Some(self.judge_approval(needed))
    }

    fn must_plan_again(&self, sight: &PlanSight, needs_approval: bool) -> bool {
        let Some(present) = self.next.status.plan.as_ref() else { return true };
        if present.scope != self.scope() {
            return true;
        }
        // Nothing was made by it: it shows what would be done now.
        if self.incident.spec.mode == Mode::Observe {
            return present.digest != sight.digest;
        }
        let new_host = || sight.hosts.iter().take(HOSTS_KEPT).any(|host| !present.hosts.contains(&host.0));
        let new_server = || sight.moves.keys().any(|server| !self.is_in_a_plan(*server));
        needs_approval && (new_host() || new_server())
    }

    /// Whether a run of the server belongs to the present plan or to an approved one.
    fn is_in_a_plan(&self, server: ServerId) -> bool {
        let present = self.next.status.plan.as_ref().map(|plan| plan.digest.as_str()).unwrap_or_default();
        self.seen.runs.iter().any(|run| run.server == server && (run.plan == present || self.is_approved_plan(&run.plan)))
    }

    pub(super) fn is_approved_plan(&self, plan: &str) -> bool {
        self.next.status.approved.as_ref().is_some_and(|approved| approved.plans.iter().any(|one| one == plan))
    }

    /// Whether a server was in a plan that was approved.
    pub(super) fn is_approved_server(&self, runs: &[RunFacts], server: ServerId) -> bool {
        runs.iter().any(|run| run.server == server && self.is_approved_plan(&run.plan))
    }

    /// Notes an approval of the plan as it stands in status.
    fn take_approval(&mut self, needed: bool) {
        let wanted = self.incident.spec.approval.plan.clone();
        let Some(plan) = self.next.status.plan.as_ref().filter(|plan| needed && !wanted.is_empty() && plan.digest == wanted && plan.scope == self.scope())
        else {
            return;
        };
        let hosts = plan.hosts.clone();
        let approved = self.next.status.approved.get_or_insert_default();
        if !approved.plans.contains(&wanted) {
            approved.plans.push(wanted);
            let surplus = approved.plans.len().saturating_sub(APPROVALS_KEPT);
            approved.plans.drain(..surplus);
            approved.hosts = hosts;
            self.moment(TimelineEvent::Approved);
        }
    }

    fn judge_approval(&mut self, needed: Option<(&'static str, &'static str)>) -> bool {
        // Set once: a condition that is set to and fro would be written at every look.
        if self.incident.spec.mode == Mode::Observe {
            self.set(Kind::Approved, State::Unknown, "NotAsked", "");
            return true;
        }
        let Some((reason, why)) = needed else {
            self.set(Kind::Approved, State::True, NOT_REQUIRED, "");
            return true;
        };
        let approval = &self.incident.spec.approval;
        let plan = self.next.status.plan.as_ref().map(|plan| plan.digest.clone()).unwrap_or_default();
        if !approval.plan.is_empty() && self.is_approved_plan(&approval.plan) {
            let by = if approval.approved_by.is_empty() { "somebody who left no name" } else { &approval.approved_by };
            self.set(Kind::Approved, State::True, "Approved", &format!("plan {} was approved by {by}", approval.plan));
            return true;
        }
        let how = format!(
            "To approve: kubectl patch hq {} --type=merge -p '{{\"spec\":{{\"approval\":{{\"plan\":\"{plan}\",\"approvedBy\":\"YOUR-USER\"}}}}}}'",
            self.incident.name
        );
        if approval.plan.is_empty() {
            self.set(Kind::Approved, State::False, reason, &format!("a person must approve the plan: {why}. {how}"));
        } else {
            let message =
                format!("spec.approval names plan {}, and the plan is {plan} now: it has grown, or the scope has become stricter. {how}", approval.plan);
            self.set(Kind::Approved, State::False, "PlanChanged", &message);
        }
        false
    }

    /// The digest that a new run of this server carries: of the approved plan that it is in, else of the present one.
    pub(super) fn plan_of(&self, server: ServerId) -> String {
        let approved = self.seen.runs.iter().rev().find(|run| run.server == server && self.is_approved_plan(&run.plan)).map(|run| run.plan.clone());
        approved.or_else(|| self.next.status.plan.as_ref().map(|plan| plan.digest.clone())).unwrap_or_default()
    }
}

fn summary(sight: &PlanSight, scope: Scope) -> PlanSummary {
    PlanSummary {
        digest: sight.digest.clone(),
        scope,
        servers: u32::try_from(sight.moves.len()).unwrap_or(u32::MAX),
        hosts: sight.hosts.iter().take(HOSTS_KEPT).map(|host| host.0.clone()).collect(),
        strategy: "Spread".to_owned(),
        seed: sight.seed,
    }
}
