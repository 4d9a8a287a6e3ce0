//! Argo CD's own credentials: Secrets that say by a label what they are for, and by their content for which repository.

use crds::Source;

use crate::attribution::DEPLOYERS;
use crate::cache::CanaryKey;
use crate::context::Context;
use crate::gather::{SecretData, decode};
use crate::objects::kinds;
use crate::rest::Select;

/// Those for one repository, and those for all whose addresses begin in the same way.
const SELECTOR: &str = "argocd.argoproj.io/secret-type in (repository,repo-creds)";

/// Secrets that are looked through.
const MOST: usize = 200;

/// What the Secrets of the Canary's namespace have for the repository of an Application in that same namespace; those of others
/// are not looked at, as with every operator.
pub(super) async fn credentials(context: &Context, canary: &CanaryKey, source: &Source) -> Option<SecretData> {
    let by = source.applied_by.as_ref()?;
    let argocd = DEPLOYERS.iter().filter(|deployer| deployer.value() == Some("argocd"));
    let known = argocd.flat_map(|deployer| deployer.resources()).any(|kind| kind.kind == by.kind);
    if !known || *by.namespace != *canary.namespace {
        return None;
    }
    let listed = context.rest.list(kinds::SECRET, &canary.namespace, Select::Labels(SELECTOR), MOST).await;
    let secrets =
        listed.inspect_err(|problem| tracing::warn!(%canary, %problem, "reading Argo CD's credentials")).ok()?;
    for_repository(source.repository.as_deref()?, secrets.iter().map(decode))
}

/// Of the repository itself, or else of the longest beginning of its address.
fn for_repository(url: &str, secrets: impl Iterator<Item = SecretData>) -> Option<SecretData> {
    let url = plain(url);
    let fits = |data: &SecretData| {
        let of = data.get("url").map(|of| plain(&String::from_utf8_lossy(of)).to_owned());
        let of = of.filter(|of| {
            !of.is_empty() && url.strip_prefix(of.as_str()).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
        });
        of.map(|of| of.len())
    };
    let able = secrets.filter(|data| ["password", "bearerToken"].iter().any(|key| data.contains_key(*key)));
    able.filter_map(|data| Some((fits(&data)?, data))).max_by_key(|(length, _)| *length).map(|(_, data)| data)
}

fn plain(url: &str) -> &str {
    let url = url.trim().trim_end_matches('/');
    url.strip_suffix(".git").unwrap_or(url)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_closest_secret_is_taken_and_no_other() {
        let secret = |url: &str, password: Option<&str>| {
            let all = [("url", Some(url)), ("password", password)];
            all.iter().filter_map(|(key, value)| Some(((*key).to_owned(), (*value)?.into()))).collect::<SecretData>()
        };
        let all = [
            secret("https://git.example.com/mia", Some("hers")),
            secret("https://git.example.com/mia/shop.git", Some("the shop's")),
            secret("https://git.example.com/mia/shop/deeper", Some("deeper")),
            secret("https://git.example.com/open", None),
            secret("", Some("nobody's")),
        ];
        for (url, password) in [
            ("https://git.example.com/mia/shop", Some("the shop's")),
            ("https://git.example.com/mia/other.git", Some("hers")),
            ("https://git.example.com/mian/shop", None),
            ("https://git.example.com/open", None),
        ] {
            let found = for_repository(url, all.iter().cloned());
            let found = found.map(|data| String::from_utf8_lossy(&data["password"]).into_owned());
            assert_eq!(found.as_deref(), password, "{url}");
        }
    }
}
