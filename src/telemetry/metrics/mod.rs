//! Figures for Prometheus: counters, gauges and histograms, each with its name, labels and meaning in one place, and listed in `docs/metrics.md`.
//!
//! Units stand in the names (`_seconds`, `_bytes`, `_total`), labels have few values: never a name that an attacker can choose.

mod operator;
mod sentinel;

use std::borrow::Cow;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use prometheus_client::encoding::prometheus_text;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::{Metric, Registry};

pub use operator::OperatorMetrics;
pub use sentinel::SentinelMetrics;

/// The value of a label.
pub type Value = Cow<'static, str>;

/// The names and values of the labels of one series.
type Labels<const N: usize> = [(&'static str, Value); N];

/// What kind of figure it is, in Prometheus' words.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Type {
    /// Only grows, and begins at 0 with the process.
    Counter,
    /// Goes up and down.
    Gauge,
    /// How often a figure was at most so much.
    Histogram,
}

/// One figure, as it is documented.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Its name in the output.
    pub name: String,
    /// Its type.
    pub kind: Type,
    /// The names of its labels.
    pub labels: Vec<&'static str>,
}

/// All figures of one program. Cheap to clone.
#[derive(Clone, Default)]
pub struct Catalogue(Arc<Mutex<Contents>>);

#[derive(Default)]
struct Contents {
    registry: Registry,
    entries: Vec<Entry>,
}

impl fmt::Debug for Catalogue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.entries()).finish()
    }
}

impl Catalogue {
    /// An empty one.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// A figure that only grows. `name` is without `_total`, which is added.
    pub fn counters<const N: usize>(&self, name: &str, labels: [&'static str; N], help: &str) -> Counters<N> {
        let family = Family::default();
        self.register(name, Type::Counter, &labels, help, family.clone());
        Counters { labels, family }
    }

    /// A figure that goes up and down.
    pub fn gauges<const N: usize>(&self, name: &str, labels: [&'static str; N], help: &str) -> Gauges<N> {
        let family = Family::default();
        self.register(name, Type::Gauge, &labels, help, family.clone());
        Gauges { labels, family }
    }

    /// A distribution over these upper bounds.
    pub fn histogram(&self, name: &str, bounds: &[f64], help: &str) -> Histogram {
        let histogram = Histogram::new(bounds.iter().copied());
        self.register(name, Type::Histogram, &[], help, histogram.clone());
        histogram
    }

    fn register(&self, name: &str, kind: Type, labels: &[&'static str], help: &str, metric: impl Metric) {
        let mut contents = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        // The encoder puts the full stop.
        contents.registry.register(name, help, metric);
        let suffix = if kind == Type::Counter { "_total" } else { "" };
        contents.entries.push(Entry { name: format!("{name}{suffix}"), kind, labels: labels.to_vec() });
    }

    /// All figures in Prometheus' text format.
    ///
    /// # Errors
    ///
    /// When a figure cannot be written as text.
    pub fn text(&self) -> Result<String, fmt::Error> {
        let mut text = String::new();
        prometheus_text::encode(&mut text, &self.0.lock().unwrap_or_else(PoisonError::into_inner).registry)?;
        Ok(text)
    }

    /// What there is.
    #[must_use]
    pub fn entries(&self) -> Vec<Entry> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).entries.clone()
    }
}

/// Counters that differ in their labels. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Counters<const N: usize> {
    labels: [&'static str; N],
    family: Family<Labels<N>, Counter>,
}

impl<const N: usize> Counters<N> {
    /// One more with these values of the labels.
    pub fn one<V: Into<Value>>(&self, values: [V; N]) {
        self.add(values, 1);
    }

    /// So many more.
    pub fn add<V: Into<Value>>(&self, values: [V; N], count: u64) {
        self.family.get_or_create(&with_names(self.labels, values)).inc_by(count);
    }

    /// Raises the counter to what somebody else has counted since the start of the process. A lower figure changes nothing.
    pub fn raise_to<V: Into<Value>>(&self, values: [V; N], count: u64) {
        let counter = self.family.get_or_create_owned(&with_names(self.labels, values));
        counter.inc_by(count.saturating_sub(counter.get()));
    }
}

/// Gauges that differ in their labels. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Gauges<const N: usize> {
    labels: [&'static str; N],
    family: Family<Labels<N>, Gauge>,
}

impl<const N: usize> Gauges<N> {
    /// It is so much now.
    pub fn set<V: Into<Value>>(&self, values: [V; N], value: i64) {
        self.family.get_or_create(&with_names(self.labels, values)).set(value);
    }

    /// Forgets all series: what is set next is all there is.
    pub fn clear(&self) {
        self.family.clear();
    }
}

fn with_names<const N: usize, V: Into<Value>>(names: [&'static str; N], values: [V; N]) -> Labels<N> {
    let mut values = values.into_iter();
    names.map(|name| (name, values.next().map(Into::into).unwrap_or_default()))
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::path::Path;

    use super::*;

    #[test]
    fn a_series_has_its_labels_and_its_figure() {
        let catalogue = Catalogue::new();
        let (counters, gauges) = (catalogue.counters("x_things", ["kind", "size"], "Things"), catalogue.gauges("x_level", [], "Level"));
        counters.one(["a", "big"]);
        counters.raise_to(["a", "big"], 5);
        counters.raise_to(["a", "big"], 3);
        gauges.set::<Value>([], -2);
        let text = catalogue.text().unwrap();
        assert!(text.contains(r#"x_things_total{kind="a",size="big"} 5"#) && text.contains("\nx_level -2\n"), "{text}");
    }

    /// `name | type | labels`, one line each.
    fn rows(entries: impl IntoIterator<Item = Entry>) -> Vec<String> {
        let mut rows: Vec<String> =
            entries.into_iter().map(|entry| format!("{} | {} | {}", entry.name, format!("{:?}", entry.kind).to_lowercase(), entry.labels.join(", "))).collect();
        rows.sort();
        rows
    }

    /// The rows of the tables in the document, in the same form.
    fn documented() -> Vec<String> {
        let text = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/metrics.md")).unwrap();
        let cells = text.lines().filter(|line| line.starts_with("| `sidestep_")).map(|line| line.split('|').map(str::trim).collect::<Vec<_>>());
        let mut rows: Vec<String> = cells.map(|cells| format!("{} | {} | {}", cells[1].trim_matches('`'), cells[2], cells[3].replace('`', ""))).collect();
        rows.sort();
        rows
    }

    #[test]
    fn what_is_documented_is_what_is_exported() {
        let (operator, sentinel) = (Catalogue::new(), Catalogue::new());
        let _ = (OperatorMetrics::new(&operator), SentinelMetrics::new(&sentinel));
        let all = operator.entries().into_iter().chain(sentinel.entries());
        assert_eq!(documented(), rows(all));
        // Series appear with their first figure.
        let text = operator.text().unwrap() + &sentinel.text().unwrap();
        let described: Vec<&str> = text.lines().filter_map(|line| line.strip_prefix("# TYPE ")?.split(' ').next()).collect();
        let known = |name: &&str| documented().iter().any(|row| row.starts_with(&format!("{name} |")));
        assert!(!described.is_empty() && described.iter().all(known), "{text}");
    }
}
