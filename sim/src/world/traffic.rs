//! Who asks: how many requests per second, from which classes of users, with which headers.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use serde::de::value::MapAccessDeserializer;
use serde::de::{Error, MapAccess, Visitor};
use serde::{Deserialize, Deserializer};

use super::quantity::{PerSecond, Percent, duration};
use super::routing::{Entrance, Request, Routes};

/// Users and what they send.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Traffic {
    /// How many requests there are; `600/min`, or how they change.
    pub rate: Rate,
    /// Whether they come in even steps or at random.
    #[serde(default)]
    pub arrivals: Arrivals,
    /// Every request is drawn by itself and told in [`super::Tick::exchanges`]: for tests, at low rates.
    #[serde(default)]
    pub exact: bool,
    /// The data plane they come through; the one that has routes, unless it is said.
    #[serde(default)]
    pub through: Option<Through>,
    /// The Service that is asked where no data plane is.
    #[serde(default)]
    pub service: Option<ServiceName>,
    /// The host that is asked; the first that the routes know, unless it is said.
    #[serde(default)]
    pub host: Option<String>,
    /// The path that is asked.
    #[serde(default = "root")]
    pub path: String,
    /// The method of all requests.
    #[serde(default = "get")]
    pub method: String,
    /// How many have a cookie jar in the class `users`, which is all that the other classes leave.
    #[serde(default = "thousand")]
    pub users: u64,
    /// Users apart from the others.
    #[serde(default)]
    pub classes: Vec<Class>,
}

/// Users apart from the others.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Class {
    /// Its name in what is counted.
    pub name: String,
    /// Of the traffic's rate; or
    #[serde(default)]
    pub share: Option<Percent>,
    /// a rate of its own, beside the traffic's.
    #[serde(default)]
    pub rate: Option<Rate>,
    /// As the traffic's, unless it is said.
    #[serde(default)]
    pub through: Option<Through>,
    /// As the traffic's, unless it is said. Alone it means `through: Service`.
    #[serde(default)]
    pub service: Option<ServiceName>,
    /// As the traffic's, unless it is said.
    #[serde(default)]
    pub host: Option<String>,
    /// As the traffic's, unless it is said.
    #[serde(default)]
    pub path: Option<String>,
    /// As the traffic's, unless it is said.
    #[serde(default)]
    pub method: Option<String>,
    /// Headers by name.
    #[serde(default)]
    pub headers: BTreeMap<String, String>,
    /// Parameters of the query by name.
    #[serde(default)]
    pub query: BTreeMap<String, String>,
    /// What all of them have in their cookie jars from the start.
    #[serde(default)]
    pub cookies: BTreeMap<String, String>,
    /// How many have a cookie jar.
    #[serde(default = "thousand")]
    pub users: u64,
    /// Sends nothing while no pod could answer, as a load generator that is started when there are some.
    #[serde(default)]
    pub patient: bool,
}

/// A data plane, or none.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
pub enum Through {
    /// A gateway of the Gateway API.
    Gateway,
    /// Traefik with its own kinds.
    Traefik,
    /// Ingress-NGINX.
    Nginx,
    /// From inside the cluster.
    Service,
}

/// Which Service.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ServiceName {
    /// Its namespace.
    pub namespace: String,
    /// Its name.
    pub name: String,
}

/// When requests come.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
pub enum Arrivals {
    /// In even steps, as from a load generator.
    #[default]
    Even,
    /// At random, as from people (a Poisson process).
    Random,
}

/// Requests per second over time.
#[derive(Clone, Debug, PartialEq)]
pub enum Rate {
    /// Always the same.
    Constant(PerSecond),
    /// From one to another in a straight line, and then that.
    Ramp {
        /// At the begin.
        from: PerSecond,
        /// At the end.
        to: PerSecond,
        /// Until then.
        over: Duration,
    },
    /// As a sine around a mean, from the mean upwards.
    Daily {
        /// In the middle.
        mean: PerSecond,
        /// How far up and down, of the mean.
        swing: Percent,
        /// From peak to peak.
        period: Duration,
    },
}

impl Rate {
    /// Requests per second, so long after the begin.
    pub fn at(&self, since: Duration) -> f64 {
        match self {
            Rate::Constant(rate) => rate.0,
            Rate::Ramp { from, to, over } => {
                let done = (since.as_secs_f64() / over.as_secs_f64().max(1e-3)).min(1.0);
                from.0 + (to.0 - from.0) * done
            }
            Rate::Daily { mean, swing, period } => {
                let turns = since.as_secs_f64() / period.as_secs_f64().max(1e-3);
                mean.0 * (1.0 + swing.0 * (turns * std::f64::consts::TAU).sin())
            }
        }
    }
}

impl Traffic {
    /// What is wrong with it, beyond what its fields say themselves: a field and why.
    pub(super) fn check(&self) -> Result<(), String> {
        let shares: f64 = self.classes.iter().filter_map(|class| class.share).map(|share| share.0).sum();
        if shares > 1.0 + 1e-9 {
            return Err(format!("traffic.classes: their shares are {}% together", (shares * 100.0).round()));
        }
        for (at, class) in self.classes.iter().enumerate() {
            let field = format!("traffic.classes[{at}]");
            if class.share.is_some() == class.rate.is_some() {
                return Err(format!("{field} needs either share or rate"));
            }
            if class.name == USERS || self.classes[..at].iter().any(|other| other.name == class.name) {
                return Err(format!("{field}.name: there is another class {:?}", class.name));
            }
            if class.users == 0 {
                return Err(format!("{field}.users must be at least 1"));
            }
            if class.through == Some(Through::Service) && class.service.is_none() && self.service.is_none() {
                return Err(format!("{field}.service is needed, as it goes through a Service"));
            }
        }
        if self.users == 0 {
            return Err("traffic.users must be at least 1".into());
        }
        if self.through == Some(Through::Service) && self.service.is_none() {
            return Err("traffic.service is needed, as the traffic goes through a Service".into());
        }
        Ok(())
    }

    /// All classes, that of the others last, each with its share of the traffic or its own rate.
    pub(super) fn all_classes(&self) -> Vec<Class> {
        let taken: f64 = self.classes.iter().filter_map(|class| class.share).map(|share| share.0).sum();
        let others = Class {
            name: USERS.into(),
            share: Some(Percent((1.0 - taken).max(0.0))),
            rate: None,
            through: None,
            service: None,
            host: None,
            path: None,
            method: None,
            headers: BTreeMap::new(),
            query: BTreeMap::new(),
            cookies: BTreeMap::new(),
            users: self.users,
            patient: false,
        };
        self.classes.iter().cloned().chain([others]).collect()
    }

    /// What a class sends with such a cookie jar.
    pub(super) fn request(&self, class: &Class, cookies: BTreeMap<String, String>, routes: &Routes) -> Request {
        let direct = class.service.as_ref().filter(|_| class.through.is_none()).map(|_| Through::Service);
        let service = || {
            let service = class.service.as_ref().or(self.service.as_ref());
            let (namespace, name) = service.map(|own| (own.namespace.clone(), own.name.clone())).unwrap_or_default();
            Entrance::Service { namespace, name }
        };
        let entrance = match direct.or(class.through).or(self.through) {
            Some(Through::Gateway) => Entrance::Gateway,
            Some(Through::Traefik) => Entrance::Traefik,
            Some(Through::Nginx) => Entrance::Nginx,
            Some(Through::Service) => service(),
            None => routes.data_plane().unwrap_or_else(service),
        };
        let host = class.host.clone().or_else(|| self.host.clone());
        Request {
            host: host.or_else(|| routes.host(&entrance)).unwrap_or_default(),
            entrance,
            path: class.path.clone().unwrap_or_else(|| self.path.clone()),
            method: class.method.clone().unwrap_or_else(|| self.method.clone()),
            headers: class.headers.iter().map(|(name, value)| (name.to_ascii_lowercase(), value.clone())).collect(),
            query: class.query.clone(),
            cookies,
        }
    }

    /// Requests per second of a class, so long after the begin.
    pub(super) fn rate_of(&self, class: &Class, since: Duration) -> f64 {
        match (&class.rate, class.share) {
            (Some(rate), _) => rate.at(since),
            (None, share) => self.rate.at(since) * share.map_or(0.0, |share| share.0),
        }
    }
}

/// The class of all that are in no other.
const USERS: &str = "users";

fn root() -> String {
    "/".into()
}

fn get() -> String {
    "GET".into()
}

fn thousand() -> u64 {
    1000
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct WrittenRamp {
    from: PerSecond,
    to: PerSecond,
    #[serde(deserialize_with = "duration")]
    over: Duration,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct WrittenDaily {
    mean: PerSecond,
    swing: Percent,
    #[serde(deserialize_with = "duration")]
    period: Duration,
}

#[derive(Deserialize)]
enum WrittenCourse {
    #[serde(rename = "ramp")]
    Ramp(WrittenRamp),
    #[serde(rename = "daily")]
    Daily(WrittenDaily),
}

/// By hand: an untagged enum would only say that nothing fits.
impl<'de> Deserialize<'de> for Rate {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Either;
        impl<'de> Visitor<'de> for Either {
            type Value = Rate;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a rate such as 600/min, {ramp: {from, to, over}} or {daily: {mean, swing, period}}")
            }

            fn visit_str<E: Error>(self, text: &str) -> Result<Rate, E> {
                PerSecond::deserialize(serde::de::value::StrDeserializer::<E>::new(text)).map(Rate::Constant)
            }

            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Rate, A::Error> {
                Ok(match WrittenCourse::deserialize(MapAccessDeserializer::new(map))? {
                    WrittenCourse::Ramp(WrittenRamp { from, to, over }) => Rate::Ramp { from, to, over },
                    WrittenCourse::Daily(WrittenDaily { mean, swing, period }) => Rate::Daily { mean, swing, period },
                })
            }
        }
        deserializer.deserialize_any(Either)
    }
}
