//! Session cookies. They are no secret, and derived rather than drawn, so that a restart gives the same.

use sha2::{Digest, Sha256};

/// `name=value` with ten letters that depend on the seed and the purpose alone.
pub(crate) fn make(name: &str, seed: &str, purpose: &str) -> String {
    let digest = Sha256::digest(format!("{purpose}/{seed}"));
    let letters = digest.iter().take(10).map(|byte| {
        let offset = byte % 52;
        char::from(if offset < 26 { b'a' + offset } else { b'A' + (offset - 26) })
    });
    format!("{name}={}", letters.collect::<String>())
}
