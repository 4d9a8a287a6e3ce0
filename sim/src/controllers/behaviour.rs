//! What containers do, by their image. A simulated world answers this; the pretend kubelet makes it happen.

use std::time::Duration;

/// Knows how the software in the images behaves and how busy it is.
pub trait Behaviour: Send + Sync {
    /// What a container of this image does when its pod is `age` old. Asked at every look at the pod, so that the answer may
    /// change while the pod lives; it should depend on nothing but the arguments and the simulated world.
    fn of(&self, image: &str, age: Duration) -> Life;

    /// Average use of what its pods request, in percent, of the workload that an autoscaler watches. None: as much as the
    /// autoscaler aims at, so that it leaves the size alone.
    fn utilisation(&self, _namespace: &str, _kind: &str, _name: &str) -> Option<u32> {
        None
    }
}

/// The life of a container.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Life {
    /// How long the image is pulled; none: it cannot be pulled.
    pub pull: Option<Duration>,
    /// From its start until it is ready; none: never.
    pub ready_after: Option<Duration>,
    /// From each of its starts until it crashes; none: it does not.
    pub crash_after: Option<Duration>,
    /// From the request to end until it has ended. The pod's grace period cuts it short.
    pub end_after: Duration,
}

impl Default for Life {
    /// There at once, ready after a second, and gone a second after it was asked to end.
    fn default() -> Life {
        Life {
            pull: Some(Duration::ZERO),
            ready_after: Some(Duration::from_secs(1)),
            crash_after: None,
            end_after: Duration::from_secs(1),
        }
    }
}

/// Every image is well behaved: see [`Life::default`].
#[derive(Debug, Clone, Copy, Default)]
pub struct WellBehaved;

impl Behaviour for WellBehaved {
    fn of(&self, _image: &str, _age: Duration) -> Life {
        Life::default()
    }
}
