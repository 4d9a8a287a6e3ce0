//! Names, uids and addresses that the cluster gives, the same for the same seed.

use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

/// Letters and digits of generated names; no vowels, so that they form no words.
const LETTERS: &[u8] = b"bcdfghjklmnpqrstvwxz2456789";

#[derive(Debug)]
pub(crate) struct Ids {
    random: StdRng,
    addresses: u32,
    node_ports: u16,
}

impl Ids {
    pub(crate) fn seeded(seed: u64) -> Ids {
        Ids { random: StdRng::seed_from_u64(seed), addresses: 0, node_ports: 0 }
    }

    /// A uid in the form of a random UUID.
    pub(crate) fn uid(&mut self) -> String {
        let bits: u128 = self.random.random();
        let bits = bits & !(0xf << 76) | (4 << 76);
        let bits = bits & !(0b11 << 62) | (0b10 << 62);
        let text = format!("{bits:032x}");
        format!("{}-{}-{}-{}-{}", &text[..8], &text[8..12], &text[12..16], &text[16..20], &text[20..])
    }

    /// The five characters after `generateName`.
    pub(crate) fn suffix(&mut self) -> String {
        (0..5).map(|_| char::from(LETTERS[self.random.random_range(0..LETTERS.len())])).collect()
    }

    /// The next address of a Service.
    pub(crate) fn cluster_ip(&mut self) -> String {
        self.addresses += 1;
        let address = self.addresses + 10; // the first ones are for the cluster's own
        format!("10.96.{}.{}", address / 250, address % 250 + 1)
    }

    /// The next port on all nodes.
    pub(crate) fn node_port(&mut self) -> u16 {
        self.node_ports += 1;
        30_000 + self.node_ports % 2768
    }
}
