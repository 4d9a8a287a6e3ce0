//! Time series in memory, as a metrics server keeps them.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt;
use std::ops::Bound;
use std::sync::{Arc, Mutex, PoisonError};

use regex::bytes::{Regex, RegexBuilder};

/// The label that holds a metric's name.
pub const NAME: &str = "__name__";

/// Prometheus' mark for "from here on this series is gone": a NaN of its own.
const STALE: u64 = 0x7ff0_0000_0000_0002;

/// Names and values, sorted by name; an empty value is no label.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Labels(Vec<(Arc<str>, Arc<str>)>);

impl Labels {
    /// Of these pairs; of two with the same name the last counts.
    pub fn new<'a>(pairs: impl IntoIterator<Item = (&'a str, &'a str)>) -> Labels {
        let map: BTreeMap<&str, &str> = pairs.into_iter().collect();
        Labels(map.into_iter().filter(|(_, value)| !value.is_empty()).map(|(n, v)| (n.into(), v.into())).collect())
    }

    /// The value, or the empty text when there is no such label.
    pub fn get(&self, name: &str) -> &str {
        self.0.iter().find(|(own, _)| &**own == name).map_or("", |(_, value)| value)
    }

    /// Without these names.
    pub fn without(&self, names: &[&str]) -> Labels {
        Labels(self.0.iter().filter(|(own, _)| !names.contains(&&**own)).cloned().collect())
    }

    /// With these names alone.
    pub fn only(&self, names: &[&str]) -> Labels {
        Labels(self.0.iter().filter(|(own, _)| names.contains(&&**own)).cloned().collect())
    }

    /// Sorted by name.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0.iter().map(|(name, value)| (&**name, &**value))
    }
}

/// As Prometheus prints a series.
impl fmt::Display for Labels {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.get(NAME))?;
        let rest: Vec<String> =
            self.iter().filter(|(name, _)| *name != NAME).map(|(name, value)| format!("{name}={value:?}")).collect();
        write!(f, "{{{}}}", rest.join(", "))
    }
}

/// Patterns that are kept compiled at most.
const KNOWN_PATTERNS: usize = 100;

/// Around a pattern that is matched from end to end.
const ANCHORED: (&str, &str) = ("^(?s:", ")$");

/// One value.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Point {
    /// Milliseconds since 1970.
    pub at: i64,
    /// What was measured.
    pub value: f64,
}

impl Point {
    /// Whether it marks the end of a series.
    pub fn is_stale(&self) -> bool {
        self.value.to_bits() == STALE
    }
}

/// A condition on one label.
#[derive(Clone, Debug)]
pub struct Matcher {
    /// Name of the label.
    pub label: String,
    /// What it must be.
    pub wanted: Wanted,
}

/// What the value of a label must be; a label that is not there has the empty value.
#[derive(Clone, Debug)]
pub enum Wanted {
    /// This.
    Equal(String),
    /// Anything but this.
    NotEqual(String),
    /// What this matches from end to end.
    Matches(Regex),
    /// What this does not match from end to end.
    MatchesNot(Regex),
}

impl Matcher {
    /// A pattern that is matched from end to end. Errors are the pattern's.
    pub fn pattern(text: &str) -> Result<Regex, regex::Error> {
        // A rollout asks the same again and again.
        static KNOWN: Mutex<BTreeMap<String, Regex>> = Mutex::new(BTreeMap::new());
        let mut known = KNOWN.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(pattern) = known.get(text) {
            return Ok(pattern.clone());
        }
        // RE2's classes such as \d are ASCII alone; bytes are where the crate has them so.
        let pattern = RegexBuilder::new(&format!("{}{text}{}", ANCHORED.0, ANCHORED.1)).unicode(false).build()?;
        if known.len() >= KNOWN_PATTERNS {
            known.clear();
        }
        known.insert(text.to_owned(), pattern.clone());
        Ok(pattern)
    }

    /// Whether a series with these labels fits.
    pub fn fits(&self, labels: &Labels) -> bool {
        self.fits_value(labels.get(&self.label))
    }

    /// Whether such a label fits.
    pub fn fits_value(&self, value: &str) -> bool {
        match &self.wanted {
            Wanted::Equal(wanted) => value == wanted,
            Wanted::NotEqual(wanted) => value != wanted,
            Wanted::Matches(pattern) => pattern.is_match(value.as_bytes()),
            Wanted::MatchesNot(pattern) => !pattern.is_match(value.as_bytes()),
        }
    }
}

/// All series of a metrics server.
#[derive(Debug, Default)]
pub struct Store {
    series: Vec<(Labels, Vec<Point>)>,
    by_labels: BTreeMap<Labels, usize>,
    by_name: BTreeMap<String, Family>,
}

/// The labels that tell one pod's, Service's or route's series from another's: queries of rollouts name one of them.
const TELLING: [&str; 4] = ["pod", "kubernetes_pod_name", "service", "ingress"];

/// All series of one name.
#[derive(Debug, Default)]
struct Family {
    all: Vec<usize>,
    /// By value, for each of [`TELLING`].
    telling: [BTreeMap<Arc<str>, Vec<usize>>; TELLING.len()],
}

impl Family {
    fn add(&mut self, labels: &Labels, number: usize) {
        self.all.push(number);
        for (values, label) in self.telling.iter_mut().zip(TELLING) {
            if let Some((_, value)) = labels.0.iter().find(|(own, _)| &**own == label) {
                values.entry(value.clone()).or_default().push(number);
            }
        }
    }

    /// All series that can fit, and some that may not, in order.
    fn near(&self, matchers: &[Matcher]) -> Cow<'_, [usize]> {
        for matcher in matchers {
            let Some(at) = TELLING.iter().position(|label| *label == matcher.label) else { continue };
            match &matcher.wanted {
                Wanted::Equal(value) if !value.is_empty() => {
                    return Cow::Borrowed(self.telling[at].get(value.as_str()).map_or(&[], Vec::as_slice));
                }
                Wanted::Matches(pattern) => {
                    let Some(prefix) = literal_prefix(pattern) else { continue };
                    let from = (Bound::Included(prefix), Bound::Unbounded);
                    let values = self.telling[at].range::<str, _>(from);
                    let values = values.take_while(|(value, _)| value.starts_with(prefix));
                    let mut numbers: Vec<usize> = values.flat_map(|(_, numbers)| numbers).copied().collect();
                    numbers.sort_unstable();
                    return Cow::Owned(numbers);
                }
                Wanted::Equal(_) | Wanted::NotEqual(_) | Wanted::MatchesNot(_) => {}
            }
        }
        Cow::Borrowed(&self.all)
    }
}

/// Letters that every text begins with that the pattern of a matcher finds; none where that is not plain to see.
fn literal_prefix(pattern: &Regex) -> Option<&str> {
    let text = pattern.as_str().strip_prefix(ANCHORED.0)?.strip_suffix(ANCHORED.1)?;
    if text.contains('|') {
        return None;
    }
    let plain = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
    let end = text.find(|c| !plain(c)).unwrap_or(text.len());
    // What follows may say that the last letter need not be there.
    let end = if end == text.len() { end } else { end.saturating_sub(1) };
    Some(&text[..end]).filter(|prefix| !prefix.is_empty())
}

impl Store {
    /// The number of the series with these labels, by which it is appended to.
    pub fn series(&mut self, labels: &Labels) -> usize {
        if let Some(number) = self.by_labels.get(labels) {
            return *number;
        }
        let number = self.series.len();
        self.series.push((labels.clone(), Vec::new()));
        self.by_labels.insert(labels.clone(), number);
        self.by_name.entry(labels.get(NAME).to_owned()).or_default().add(labels, number);
        number
    }

    /// Appends; a point that is not after the last one, and a number that no series has, are ignored.
    pub fn append(&mut self, series: usize, point: Point) {
        let Some((_, points)) = self.series.get_mut(series) else { return };
        if points.last().is_none_or(|last| last.at < point.at) {
            points.push(point);
        }
    }

    /// Says that the series ended.
    pub fn end(&mut self, series: usize, at: i64) {
        self.append(series, Point { at, value: f64::from_bits(STALE) });
    }

    /// Drops points before that time.
    pub fn forget_before(&mut self, at: i64) {
        for (_, points) in &mut self.series {
            points.drain(..points.partition_point(|point| point.at < at));
        }
    }

    /// The series that fit all matchers, in the order in which they began.
    pub fn select<'a>(&'a self, matchers: &'a [Matcher]) -> impl Iterator<Item = (&'a Labels, &'a [Point])> {
        let name = matchers.iter().find_map(|matcher| match (&matcher.wanted, matcher.label == NAME) {
            (Wanted::Equal(name), true) => Some(name),
            (Wanted::Equal(_) | Wanted::NotEqual(_) | Wanted::Matches(_) | Wanted::MatchesNot(_), _) => None,
        });
        let some =
            name.map(|name| self.by_name.get(name).map_or(Cow::Borrowed(&[][..]), |family| family.near(matchers)));
        let count = some.as_ref().map_or(self.series.len(), |some| some.len());
        let number = move |at: usize| some.as_ref().map_or(at, |some| some[at]);
        (0..count).map(number).map(|number| &self.series[number]).filter_map(move |(labels, points)| {
            let fits = !points.is_empty() && matchers.iter().all(|matcher| matcher.fits(labels));
            fits.then_some((labels, points.as_slice()))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn matcher(label: &str, wanted: Wanted) -> Matcher {
        Matcher { label: label.into(), wanted }
    }

    #[test]
    fn matchers_see_an_absent_label_as_empty() {
        let labels = Labels::new([(NAME, "up"), ("job", "a.b"), ("empty", "")]);
        let pattern = |text| Matcher::pattern(text).unwrap();
        let table = [
            (matcher("job", Wanted::Equal("a.b".into())), true),
            (matcher("job", Wanted::NotEqual("a.b".into())), false),
            (matcher("none", Wanted::Equal(String::new())), true),
            (matcher("none", Wanted::NotEqual(String::new())), false),
            (matcher("empty", Wanted::Matches(pattern(".+"))), false),
            (matcher("none", Wanted::Matches(pattern(".*"))), true),
            (matcher("job", Wanted::Matches(pattern("a"))), false),
            (matcher("job", Wanted::Matches(pattern("x|a.b"))), true),
            (matcher("job", Wanted::MatchesNot(pattern("a[.]b"))), false),
        ];
        for (matcher, wanted) in table {
            assert_eq!(matcher.fits(&labels), wanted, "{matcher:?}");
        }
        assert_eq!(labels.to_string(), r#"up{job="a.b"}"#);
    }

    #[test]
    fn series_are_found_by_pod_as_by_looking_at_all() {
        let mut store = Store::default();
        for pod in ["b-1", "a-1", "a-2", "a", "ab-1", "", "a-1"] {
            let number = store.series(&Labels::new([(NAME, "up"), ("pod", pod)]));
            store.append(number, Point { at: 1, value: 1.0 });
        }
        let wanted = ["a-.", "a-?.*", "a|b-1", "a-1", ".*", "", "[ab]-1", "(a)-1", "a*b-1", "x", r"a\-1"];
        let patterns = wanted.map(|text| Wanted::Matches(Matcher::pattern(text).unwrap()));
        let equals = ["a-1", "", "x"].map(|text| Wanted::Equal(text.to_owned()));
        for wanted in patterns.into_iter().chain(equals) {
            let matchers = [matcher(NAME, Wanted::Equal("up".into())), matcher("pod", wanted)];
            let found: Vec<&Labels> = store.select(&matchers).map(|(labels, _)| labels).collect();
            let all: Vec<&Labels> =
                store.series.iter().map(|(labels, _)| labels).filter(|labels| matchers[1].fits(labels)).collect();
            assert_eq!(found, all, "{matchers:?}");
        }
    }

    #[test]
    fn points_are_in_order_and_forgotten() {
        let mut store = Store::default();
        let number = store.series(&Labels::new([(NAME, "up")]));
        assert_eq!(store.series(&Labels::new([(NAME, "up"), ("x", "")])), number);
        for at in [10, 20, 15, 20, 30] {
            store.append(number, Point { at, value: 1.0 });
        }
        store.append(99, Point { at: 1, value: 1.0 });
        store.forget_before(20);
        let up = [matcher(NAME, Wanted::Equal("up".into()))];
        let times: Vec<i64> = store.select(&up).flat_map(|(_, points)| points.iter().map(|point| point.at)).collect();
        assert_eq!(times, [20, 30]);
        assert_eq!(store.select(&[matcher(NAME, Wanted::Equal("down".into()))]).count(), 0);
        store.forget_before(100);
        assert_eq!(store.select(&up).count(), 0);
    }
}
