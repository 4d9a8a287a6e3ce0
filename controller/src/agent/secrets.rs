//! Content of the Secrets of a GitSource. It is held in memory and shown nowhere.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use super::problem::{Problem, Reason};
use super::source::Source;
use super::upstream::Secrets;
use super::webhook::Hook;
use crate::objects::kinds::SECRET;
use crate::rest::Rest;

/// What is in the Secrets of a GitSource.
#[derive(Clone, Default)]
pub struct Held {
    /// For the repository.
    pub credentials: Secrets,
    /// Public keys of which one must have signed.
    pub keys: Option<Secrets>,
    /// Who may tell of pushes.
    pub hook: Option<Hook>,
}

/// Reads the Secrets that the source names.
///
/// # Errors
/// When one of them is missing or cannot be read.
pub async fn read(rest: &Rest, source: &Source) -> Result<Held, Problem> {
    let mut held = Held::default();
    if let Some(name) = &source.secret {
        held.credentials = one(rest, source, name, "spec.secretRef").await?;
    }
    if let Some(name) = &source.keys {
        held.keys = Some(one(rest, source, name, "spec.verify.secretRef").await?);
    }
    if let Some(webhook) = &source.webhook {
        let field = "spec.webhook.secretRef";
        let mut secret = one(rest, source, &webhook.secret_ref.name, field).await?;
        let token = secret.0.remove("token").unwrap_or_default();
        if token.is_empty() {
            let message =
                format!("{field}: the Secret has no key token: put a long random text there, and tell the forge");
            return Err(Problem::new(Reason::InvalidSecret, message));
        }
        held.hook = Some(Hook::new(webhook.type_, token.trim_ascii().to_vec()));
    }
    Ok(held)
}

/// The values of a Secret in the namespace of the source.
///
/// # Errors
/// When it is missing or cannot be read.
async fn one(rest: &Rest, source: &Source, name: &str, field: &str) -> Result<Secrets, Problem> {
    let namespace = &source.key.namespace;
    let Some(secret) = rest.get(SECRET, namespace, name).await? else {
        let message = format!("{field}: there is no Secret {namespace}/{name}: create it");
        return Err(Problem::new(Reason::InvalidSecret, message));
    };
    let mut values = Secrets::default();
    for (key, value) in secret["data"].as_object().into_iter().flatten() {
        let decoded = STANDARD.decode(value.as_str().unwrap_or_default());
        let decoded = decoded.map_err(|_| {
            Problem::new(Reason::InvalidSecret, format!("{field}: {key:?} of Secret {namespace}/{name} is not base64"))
        })?;
        values.0.insert(key.clone(), decoded);
    }
    Ok(values)
}
