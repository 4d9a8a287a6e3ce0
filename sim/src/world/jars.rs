//! Cookie jars of many users: those with the same cookies are counted, not listed.

use std::collections::BTreeMap;

use rand::Rng;

use super::chance::{deal, float};

/// What is in a jar: value by name, and when it expires, in milliseconds since 1970.
type Jar = BTreeMap<String, (String, Option<i64>)>;

/// The jars of a class of users.
#[derive(Debug)]
pub(super) struct Jars {
    /// How many users have the same.
    groups: BTreeMap<Jar, u64>,
}

impl Jars {
    /// All with the same cookies, for ever.
    pub(super) fn new(users: u64, cookies: &BTreeMap<String, String>) -> Jars {
        let jar = cookies.iter().map(|(name, value)| (name.clone(), (value.clone(), None))).collect();
        Jars { groups: BTreeMap::from([(jar, users)]) }
    }

    /// Deals requests out to users: how many come from those with which cookies.
    pub(super) fn deal(&mut self, requests: u64, now: i64, rng: &mut impl Rng) -> Vec<(Jar, u64)> {
        self.expire(now);
        if self.groups.len() == 1 {
            return self.groups.keys().map(|jar| (jar.clone(), requests)).collect();
        }
        let users = float(self.groups.values().sum());
        let dealt = deal(requests, self.groups.values().map(|own| float(*own) / users), rng);
        let with = self.groups.keys().zip(dealt).filter(|(_, requests)| *requests > 0);
        with.map(|(jar, requests)| (jar.clone(), requests)).collect()
    }

    /// Lets some users of a group keep what an answer set. A user asks once in a tick, as long as there are enough.
    pub(super) fn keep(&mut self, of: &Jar, answers: u64, cookies: &[String], now: i64) {
        let Some(users) = self.groups.get_mut(of) else { return };
        let mut jar = of.clone();
        cookies.iter().for_each(|cookie| set(&mut jar, cookie, now));
        if jar == *of {
            return;
        }
        let moved = answers.min(*users);
        *users -= moved;
        if *users == 0 {
            self.groups.remove(of);
        }
        *self.groups.entry(jar).or_default() += moved;
    }

    fn expire(&mut self, now: i64) {
        let is_old = |(_, expires): &(String, Option<i64>)| expires.is_some_and(|expires| expires <= now);
        let old: Vec<Jar> = self.groups.keys().filter(|jar| jar.values().any(is_old)).cloned().collect();
        for mut jar in old {
            let users = self.groups.remove(&jar).unwrap_or(0);
            jar.retain(|_, kept| !is_old(kept));
            *self.groups.entry(jar).or_default() += users;
        }
    }
}

/// Name and value of what is in a jar.
pub(super) fn contents(jar: &Jar) -> BTreeMap<String, String> {
    jar.iter().map(|(name, (value, _))| (name.clone(), value.clone())).collect()
}

/// As a browser takes a `Set-Cookie` header.
fn set(jar: &mut Jar, header: &str, now: i64) {
    let mut parts = header.split(';').map(str::trim);
    let Some((name, value)) = parts.next().and_then(|pair| pair.split_once('=')) else { return };
    let age = parts.find_map(|part| {
        let (key, value) = part.split_once('=')?;
        key.trim().eq_ignore_ascii_case("max-age").then(|| value.trim().parse::<i64>().ok()).flatten()
    });
    match age {
        Some(age) if age <= 0 => drop(jar.remove(name)),
        Some(age) => {
            // Expiries are rounded up, by a thirtieth at most, so that few jars differ.
            let step = (age * 1000 / 30).max(1000);
            let expires = now + age.saturating_mul(1000);
            let expires = expires.div_euclid(step).saturating_add(i64::from(expires.rem_euclid(step) > 0));
            jar.insert(name.to_owned(), (value.to_owned(), Some(expires.saturating_mul(step))));
        }
        None => drop(jar.insert(name.to_owned(), (value.to_owned(), None))),
    }
}

#[cfg(test)]
mod tests {
    use rand::SeedableRng;
    use rand_chacha::ChaCha8Rng;

    use super::*;

    fn sizes(jars: &Jars) -> Vec<(String, u64)> {
        jars.groups.iter().map(|(jar, users)| (format!("{:?}", contents(jar)), *users)).collect()
    }

    #[test]
    fn cookies_are_kept_replaced_and_lost() {
        let mut jars = Jars::new(10, &BTreeMap::from([("lang".into(), "en".into())]));
        let mut rng = ChaCha8Rng::seed_from_u64(1);
        let all = jars.deal(100, 0, &mut rng);
        assert_eq!(all.len(), 1);
        jars.keep(&all[0].0, 4, &["seen=a; Max-Age=60; Secure".into()], 0);
        let (without, with) = (r#"{"lang": "en"}"#.to_owned(), r#"{"lang": "en", "seen": "a"}"#.to_owned());
        assert_eq!(sizes(&jars), [(without.clone(), 6), (with.clone(), 4)]);

        let dealt = jars.deal(1000, 59_000, &mut rng);
        assert_eq!(dealt.iter().map(|(_, requests)| requests).sum::<u64>(), 1000);
        assert!((300..500).contains(&dealt[1].1), "{dealt:?}");
        // More answers than users.
        jars.keep(&dealt[1].0, 500, &["seen=a; max-age=-1".into()], 59_000);
        assert_eq!(sizes(&jars), [(without.clone(), 10)]);

        let rest = jars.deal(1, 60_000, &mut rng);
        jars.keep(&rest[0].0, 10, &["seen=b; Max-Age=60".into()], 60_000);
        jars.expire(119_999);
        assert_eq!(sizes(&jars).len(), 1);
        assert!(sizes(&jars)[0].0.contains("seen"));
        jars.expire(122_000);
        assert_eq!(sizes(&jars), [(without, 10)]);
    }

    #[test]
    fn cookies_of_many_ticks_make_few_groups() {
        for age in [30, 600, 86_400] {
            let mut jars = Jars::new(1_000_000, &BTreeMap::new());
            for tick in 0..1800 {
                let now = tick * 1000;
                jars.expire(now);
                jars.keep(&Jar::new(), 1, &[format!("seen=a; Max-Age={age}")], now);
                assert!(jars.groups.len() <= 33, "{age}: {} groups", jars.groups.len());
            }
        }
    }
}
