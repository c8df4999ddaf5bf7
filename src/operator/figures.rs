//! Figures that are counted only when somebody asks for them: how much stands in each queue, and how old the view of each cloud is.

use std::collections::BTreeMap;

use super::context::{Context, is_finished};

/// Counts them.
pub(super) fn refresh(context: &Context) {
    let (metrics, stores) = (&context.metrics, &context.stores);
    let runs = stores.runs.state();
    let open = runs.iter().filter_map(|run| run.0.as_ref().ok()).filter(|run| !is_finished(run));
    let phases = count(open.map(|run| run.status.as_ref().and_then(|status| status.phase).map_or("Planned", |phase| phase.as_str())));
    metrics.runs.clear();
    phases.into_iter().for_each(|(phase, count)| metrics.runs.set([phase], count));

    let quarantines = stores.quarantines.state();
    let all = quarantines.iter().filter_map(|quarantine| quarantine.0.as_ref().ok());
    let phases = count(all.map(|quarantine| quarantine.status.as_ref().and_then(|status| status.phase).map_or("Pending", |phase| phase.as_str())));
    metrics.quarantines.clear();
    phases.into_iter().for_each(|(phase, count)| metrics.quarantines.set([phase], count));

    let alerts = stores.alerts.state();
    let all = alerts.iter().filter_map(|alert| alert.0.as_ref().ok());
    let decisions = count(all.map(|alert| alert.status.as_ref().and_then(|status| status.decision).map_or("None", |decision| decision.as_str())));
    metrics.alerts.clear();
    decisions.into_iter().for_each(|(decision, count)| metrics.alerts.set([decision], count));

    metrics.inventory_age.clear();
    let now = context.clock.now();
    for (cloud, begun) in context.looked_at() {
        let age = now.duration_since(begun).as_millis();
        metrics.inventory_age.set([cloud], i64::try_from(age).unwrap_or(i64::MAX));
    }
}

fn count<'a>(names: impl Iterator<Item = &'a str>) -> BTreeMap<String, i64> {
    let mut counts = BTreeMap::new();
    for name in names {
        *counts.entry(name.to_owned()).or_default() += 1;
    }
    counts
}
