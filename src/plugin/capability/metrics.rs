//! `metrics`: the numbers of plugins, bounded in number, and their text for `/metrics`.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::super::bindings::pointsman::policy::metrics;
use super::super::host::State;
use super::{Capability, lacking};

/// What stands before every name.
const PREFIX: &str = "pointsman_plugin_";
const MAX_NAME: usize = 64;
const MAX_LABELS: usize = 8;
const MAX_VALUE: usize = 128;

/// Upper bounds of the buckets of histograms.
const BOUNDS: [f64; 22] = [
    0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 25.0, 50.0, 100.0, 250.0, 500.0,
    1000.0, 2500.0, 5000.0, 10000.0,
];

type Labels = Vec<(String, String)>;

/// All numbers of all plugins. They live as long as the router.
#[derive(Default)]
pub struct Registry {
    plugins: Mutex<BTreeMap<Arc<str>, Plugin>>,
}

#[derive(Default)]
struct Plugin {
    families: BTreeMap<String, Family>,
    series: usize,
    dropped: u64,
}

/// All series of one name.
enum Family {
    Counter(BTreeMap<Labels, u64>),
    Gauge(BTreeMap<Labels, f64>),
    Histogram(BTreeMap<Labels, Histogram>),
}

#[derive(Clone, Debug, Default)]
struct Histogram {
    buckets: [u64; BOUNDS.len()],
    count: u64,
    sum: f64,
}

/// One thing that a plugin reports.
#[derive(Clone, Copy, Debug)]
enum Report {
    Count(u64),
    Set(f64),
    Observe(f64),
}

/// Where one plugin reports.
pub(super) struct Meter {
    plugin: Arc<str>,
    series: usize,
    registry: Arc<Registry>,
}

impl Registry {
    pub(super) fn meter(self: &Arc<Self>, plugin: &Arc<str>, series: usize) -> Meter {
        Meter {
            plugin: Arc::clone(plugin),
            series,
            registry: Arc::clone(self),
        }
    }

    fn plugins(&self) -> MutexGuard<'_, BTreeMap<Arc<str>, Plugin>> {
        self.plugins.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// All of it in the text format of Prometheus. A name that two plugins have stands once, with the series of both;
    /// where they disagree about its kind, the one whose plugin comes first by name is told.
    pub fn write(&self, out: &mut String) {
        let plugins = self.plugins();
        let mut names = BTreeMap::<_, Vec<_>>::new();
        let mut kinds: BTreeMap<&str, &str> = BTreeMap::new();
        for (plugin, of) in plugins.iter() {
            for (name, family) in &of.families {
                let kind = *kinds.entry(name).or_insert_with(|| family.kind());
                if kind == family.kind() {
                    names.entry((&**name, kind)).or_default().push((plugin, family));
                }
            }
        }
        for ((name, kind), families) in names {
            let _ = writeln!(out, "# TYPE {PREFIX}{name}{} {kind}", suffix(kind));
            for (plugin, family) in families {
                family.write(&format!("{PREFIX}{name}"), plugin, out);
            }
        }
        let dropped = "pointsman_plugin_reports_dropped_total";
        let _ = writeln!(out, "# TYPE {dropped} counter");
        for (plugin, of) in plugins.iter() {
            let _ = writeln!(out, "{dropped}{} {}", labels(plugin, &[], None), of.dropped);
        }
    }
}

fn suffix(kind: &str) -> &'static str {
    if kind == "counter" { "_total" } else { "" }
}

impl Family {
    fn kind(&self) -> &'static str {
        match self {
            Self::Counter(_) => "counter",
            Self::Gauge(_) => "gauge",
            Self::Histogram(_) => "histogram",
        }
    }

    fn write(&self, name: &str, plugin: &str, out: &mut String) {
        let mut line = |suffix: &str, of: &Labels, le: Option<&str>, value: &dyn std::fmt::Display| {
            // Writing to a string cannot fail.
            let _ = writeln!(out, "{name}{suffix}{} {value}", labels(plugin, of, le));
        };
        match self {
            Self::Counter(all) => all.iter().for_each(|(of, value)| line("_total", of, None, value)),
            Self::Gauge(all) => all.iter().for_each(|(of, value)| line("", of, None, &number(*value))),
            Self::Histogram(all) => {
                for (of, histogram) in all {
                    let mut below = 0;
                    for (bound, bucket) in BOUNDS.iter().zip(histogram.buckets) {
                        below += bucket;
                        line("_bucket", of, Some(&bound.to_string()), &below);
                    }
                    line("_bucket", of, Some("+Inf"), &histogram.count);
                    line("_sum", of, None, &number(histogram.sum));
                    line("_count", of, None, &histogram.count);
                }
            }
        }
    }
}

fn number(value: f64) -> String {
    match value {
        v if v.is_nan() => "NaN".to_owned(),
        v if v.is_infinite() => if v > 0.0 { "+Inf" } else { "-Inf" }.to_owned(),
        v => v.to_string(),
    }
}

fn labels(plugin: &str, of: &[(String, String)], le: Option<&str>) -> String {
    let mut out = format!("{{plugin=\"{plugin}\"");
    let more = of
        .iter()
        .map(|(name, value)| (&**name, &**value))
        .chain(le.map(|le| ("le", le)));
    for (name, value) in more {
        let value = value.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n");
        let _ = write!(out, ",{name}=\"{value}\"");
    }
    out.push('}');
    out
}

fn is_name(name: &str) -> bool {
    let word = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_';
    name.len() <= MAX_NAME && name.starts_with(|c: char| c.is_ascii_lowercase()) && name.bytes().all(word)
}

/// Sorted, where all of them may be.
fn checked(mut labels: Labels) -> Option<Labels> {
    let good = |(name, value): &(String, String)| {
        is_name(name) && !matches!(&**name, "plugin" | "le") && value.len() <= MAX_VALUE
    };
    if labels.len() > MAX_LABELS || !labels.iter().all(good) {
        return None;
    }
    labels.sort_unstable();
    let twice = labels.windows(2).any(|pair| matches!(pair, [(a, _), (b, _)] if a == b));
    (!twice).then_some(labels)
}

impl Meter {
    fn report(&self, name: String, labels: Labels, report: Report) {
        let mut plugins = self.registry.plugins();
        let plugin = plugins.entry(Arc::clone(&self.plugin)).or_default();
        if plugin.report(name, labels, report, self.series).is_none() {
            plugin.dropped += 1;
        }
    }
}

impl Plugin {
    /// `None` where it is dropped.
    fn report(&mut self, name: String, labels: Labels, report: Report, most: usize) -> Option<()> {
        let labels = checked(labels).filter(|_| is_name(&name))?;
        let full = self.series >= most;
        if full && !self.families.contains_key(&name) {
            return None;
        }
        let family = self.families.entry(name).or_insert_with(|| match report {
            Report::Count(_) => Family::Counter(BTreeMap::new()),
            Report::Set(_) => Family::Gauge(BTreeMap::new()),
            Report::Observe(_) => Family::Histogram(BTreeMap::new()),
        });
        let new = match (family, report) {
            (Family::Counter(all), Report::Count(by)) => {
                let new = room(all, &labels, full)?;
                let value = all.entry(labels).or_default();
                *value = value.saturating_add(by);
                new
            }
            (Family::Gauge(all), Report::Set(value)) => {
                let new = room(all, &labels, full)?;
                all.insert(labels, value);
                new
            }
            (Family::Histogram(all), Report::Observe(value)) => {
                let new = room(all, &labels, full)?;
                all.entry(labels).or_default().observe(value);
                new
            }
            _ => return None,
        };
        self.series += usize::from(new);
        Some(())
    }
}

/// Whether the series is new; `None` where there is no room for a new one.
fn room<T>(all: &BTreeMap<Labels, T>, labels: &Labels, full: bool) -> Option<bool> {
    match all.contains_key(labels) {
        true => Some(false),
        false if full => None,
        false => Some(true),
    }
}

impl Histogram {
    fn observe(&mut self, value: f64) {
        if let Some(at) = BOUNDS.iter().position(|bound| value <= *bound)
            && let Some(bucket) = self.buckets.get_mut(at)
        {
            *bucket += 1;
        }
        self.count += 1;
        self.sum += value;
    }
}

impl State {
    fn report(&self, name: String, labels: Labels, report: Report) -> wasmtime::Result<()> {
        match &self.powers.meter {
            Some(meter) => meter.report(name, labels, report),
            None => return lacking(Capability::Metrics),
        }
        Ok(())
    }
}

impl metrics::Host for State {
    fn count(&mut self, name: String, labels: Labels, by: u64) -> wasmtime::Result<()> {
        self.report(name, labels, Report::Count(by))
    }

    fn gauge(&mut self, name: String, labels: Labels, value: f64) -> wasmtime::Result<()> {
        self.report(name, labels, Report::Set(value))
    }

    fn observe(&mut self, name: String, labels: Labels, value: f64) -> wasmtime::Result<()> {
        self.report(name, labels, Report::Observe(value))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(pairs: &[(&str, &str)]) -> Labels {
        pairs.iter().map(|(n, v)| ((*n).to_owned(), (*v).to_owned())).collect()
    }

    fn text(registry: &Registry) -> String {
        let mut out = String::new();
        registry.write(&mut out);
        out
    }

    #[test]
    fn numbers_appear_with_the_plugin_they_are_of() {
        let registry = Arc::new(Registry::default());
        let (one, two) = (registry.meter(&"one".into(), 9), registry.meter(&"two".into(), 9));
        one.report("hits".into(), of(&[("tool", "a\"b\n")]), Report::Count(2));
        one.report("hits".into(), of(&[("tool", "a\"b\n")]), Report::Count(3));
        two.report("hits".into(), of(&[]), Report::Count(1));
        one.report("load".into(), of(&[("b", "2"), ("a", "1")]), Report::Set(0.5));
        two.report("load".into(), of(&[]), Report::Count(1));
        insta::assert_snapshot!(text(&registry), @r#"
        # TYPE pointsman_plugin_hits_total counter
        pointsman_plugin_hits_total{plugin="one",tool="a\"b\n"} 5
        pointsman_plugin_hits_total{plugin="two"} 1
        # TYPE pointsman_plugin_load gauge
        pointsman_plugin_load{plugin="one",a="1",b="2"} 0.5
        # TYPE pointsman_plugin_reports_dropped_total counter
        pointsman_plugin_reports_dropped_total{plugin="one"} 0
        pointsman_plugin_reports_dropped_total{plugin="two"} 0
        "#);
    }

    #[test]
    fn buckets_count_what_is_below_them() {
        let registry = Arc::new(Registry::default());
        let meter = registry.meter(&"p".into(), 1);
        for value in [0.001, 0.3, 99_999.0] {
            meter.report("t".into(), of(&[]), Report::Observe(value));
        }
        let text = text(&registry);
        for line in [
            "_bucket{plugin=\"p\",le=\"0.001\"} 1",
            "_bucket{plugin=\"p\",le=\"0.25\"} 1",
            "_bucket{plugin=\"p\",le=\"0.5\"} 2",
            "_bucket{plugin=\"p\",le=\"10000\"} 2",
            "_bucket{plugin=\"p\",le=\"+Inf\"} 3",
            "_count{plugin=\"p\"} 3",
        ] {
            assert!(text.contains(&format!("pointsman_plugin_t{line}\n")), "{line}\n{text}");
        }
    }

    #[test]
    fn what_is_too_much_or_no_name_is_dropped_and_counted() {
        let registry = Arc::new(Registry::default());
        let meter = registry.meter(&"p".into(), 2);
        let long = "v".repeat(MAX_VALUE + 1);
        let many: Labels = (0..=MAX_LABELS).map(|n| (format!("l{n}"), String::new())).collect();
        for (name, labels) in [
            ("Bad", of(&[])),
            ("", of(&[])),
            ("a", of(&[("plugin", "x")])),
            ("a", of(&[("le", "x")])),
            ("a", of(&[("b", &long)])),
            ("a", of(&[("b", "1"), ("b", "2")])),
            ("a", many),
        ] {
            meter.report(name.into(), labels, Report::Count(1));
        }
        for n in 0..4 {
            meter.report("a".into(), of(&[("n", &n.to_string())]), Report::Count(1));
        }
        meter.report("b".into(), of(&[]), Report::Count(1));
        meter.report("a".into(), of(&[("n", "0")]), Report::Set(1.0));
        let text = text(&registry);
        assert_eq!(text.matches("_a_total{").count(), 2, "{text}");
        assert!(text.contains("dropped_total{plugin=\"p\"} 11"), "{text}");
    }
}
