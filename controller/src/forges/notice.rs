//! News about a Canary as a commit status, and as the one comment of that Canary on the pull request.

use std::collections::BTreeMap;
use std::time::Duration;

use crds::{AlertProviderSpec, Check, Phase};
use url::Url;

use super::{
    CloneAddress, CommitState, CommitStatus, Forge, ForgeError, Problem, Repository, Token, comment, locate,
    pull_request_of, short, talk,
};
use crate::notifiers::{self, Change, Notice, NotifierError};
use crate::outside::Outside;

/// Time for all requests of a notice together: a pass waits for them.
const TOTAL: Duration = Duration::from_secs(15);

/// Name before the slash of a status's context, when `spec.username` of the AlertProvider has no other.
const SENDER: &str = "serin";

/// What came of a notice.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Told {
    /// The commit has the status, and the pull request, if there is one, the comment.
    Said,
    /// There is no commit to say it of, or nothing about one.
    Nothing(&'static str),
}

/// Why a notice did not reach the commit. Its text has no token.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NoticeError {
    /// The AlertProvider is not complete.
    #[error(transparent)]
    Provider(#[from] NotifierError),
    /// There is no token.
    #[error("the Secret that spec.secretRef of the AlertProvider names has no key token: write a token of {0} there")]
    NoToken(&'static str),
    /// Without a Secret there is no token.
    #[error("spec.secretRef of the AlertProvider is missing: name a Secret whose key token has a token of {0}")]
    NoSecretRef(&'static str),
    /// It is not known where the commit is.
    #[error("{0}")]
    NoRepository(String),
    /// The forge did not take it.
    #[error(transparent)]
    Forge(#[from] ForgeError),
}

/// Sets the status of the commit that brought the revision, and says the same on its pull request. Both may be repeated:
/// the status of a context replaces the one before, and the comment is known again by its marker.
pub async fn tell(
    forge: &'static dyn Forge,
    notice: &Notice,
    provider: &AlertProviderSpec,
    secret: Option<&BTreeMap<String, Vec<u8>>>,
    outside: &dyn Outside,
) -> Result<Told, NoticeError> {
    let Some(change) = &notice.change else {
        return Ok(Told::Nothing("it is not known which commit brought the revision"));
    };
    let Some(state) = state(notice.phase) else {
        return Ok(Told::Nothing("no revision is rolled out"));
    };
    let in_secret = |key: &str| secret?.get(key).and_then(|value| std::str::from_utf8(value).ok());
    let token = match (&provider.secret_ref, secret) {
        (None, _) => return Err(NoticeError::NoSecretRef(forge.title())),
        (Some(reference), None) => return Err(NotifierError::NoSecret(reference.name.clone()).into()),
        (Some(_), Some(_)) => in_secret("token").and_then(Token::new).ok_or(NoticeError::NoToken(forge.title()))?,
    };
    let proxy = notifiers::proxy(("spec.proxy", provider.proxy.as_deref()))?;
    let address = in_secret("address").or(provider.address.as_deref());
    let repository = repository(forge, address, change)?;
    let sender = provider.username.as_deref().filter(|name| !name.is_empty()).unwrap_or(SENDER);
    let status = CommitStatus {
        state,
        context: format!("{sender}/{}.{}", notice.namespace, notice.canary),
        description: notice.message.clone(),
        target: notice.page.clone(),
    };
    let text = text(notice, change);
    let said = say(&repository, change, &status, &text, (&token, proxy.as_ref(), outside));
    match tokio::time::timeout(TOTAL, said).await {
        Ok(said) => Ok(said.map(|()| Told::Said)?),
        Err(_) => {
            let problem = Problem::Unreachable(format!("not done within {} s", TOTAL.as_secs()));
            Err(ForgeError {
                what: format!("telling {} about commit {}", forge.title(), short(&change.commit)),
                problem,
            }
            .into())
        }
    }
}

/// First the status, as it needs no pull request.
async fn say(
    repository: &Repository,
    change: &Change,
    status: &CommitStatus,
    text: &str,
    (token, proxy, outside): (&Token, Option<&Url>, &dyn Outside),
) -> Result<(), ForgeError> {
    let forge = repository.forge;
    talk(forge.set_status(repository, &change.commit, status), forge, token, proxy, outside).await?;
    let known = change.pull_request.as_deref().and_then(number);
    let pull = match known {
        Some(number) => Some(number),
        None => {
            let found = talk(pull_request_of(repository, &change.commit), forge, token, proxy, outside).await?;
            found.map(|pull| pull.number)
        }
    };
    if let Some(pull) = pull {
        talk(comment(repository, pull, &status.context, text), forge, token, proxy, outside).await?;
    }
    Ok(())
}

/// How it stands with the commit; `None` when nothing is to be said about it.
fn state(phase: Phase) -> Option<CommitState> {
    match phase {
        Phase::Initializing
        | Phase::Waiting
        | Phase::Progressing
        | Phase::WaitingPromotion
        | Phase::Promoting
        | Phase::Finalising => Some(CommitState::Pending),
        Phase::Initialized | Phase::Succeeded => Some(CommitState::Success),
        Phase::Failed => Some(CommitState::Failure),
        Phase::New | Phase::Terminating | Phase::Terminated => None,
    }
}

/// The repository of the commit. The token leaves for the host that the AlertProvider names and for no other: what names
/// the repository of a revision may have been written by somebody who should not see the token.
fn repository(forge: &'static dyn Forge, address: Option<&str>, change: &Change) -> Result<Repository, NoticeError> {
    let wrong = |what: String| NoticeError::NoRepository(what);
    let known = change.repository.as_deref().map(CloneAddress::parse);
    let written = address.map(str::trim).filter(|text| !text.is_empty());
    let Some(written) = written else {
        let known = known.ok_or_else(|| {
            wrong(
                "the repository of the commit is not known: write its URL into spec.address of the AlertProvider"
                    .into(),
            )
        })?;
        let known = known.map_err(wrong)?;
        if !forge.is_home(&known.host) {
            return Err(wrong(format!(
                "the commit is on {}, and the AlertProvider does not say that its token is for that host: write \
                 https://{0} into spec.address",
                known.host
            )));
        }
        return Ok(locate(forge, &known)?);
    };
    let written = CloneAddress::parse(written).map_err(|what| wrong(format!("spec.address: {what}")))?;
    // A host alone stands for all of its repositories.
    if !written.path.is_empty() {
        return Ok(locate(forge, &written)?);
    }
    let known = known.ok_or_else(|| {
        wrong(
            "the repository of the commit is not known: write its whole URL into spec.address of the AlertProvider"
                .into(),
        )
    })?;
    let known = known.map_err(wrong)?;
    if !written.same_server(&known) {
        return Err(wrong(format!("the commit is on {}, and the AlertProvider is for {}", known.host, written.host)));
    }
    // Ssh says nothing about how the API is reached; the AlertProvider does.
    let known = CloneAddress { scheme: written.scheme, port: written.port, ..known };
    Ok(locate(forge, &known)?)
}

/// The number at the end of the address of a pull request.
fn number(url: &str) -> Option<u64> {
    let url = Url::parse(url).ok()?;
    url.path_segments()?.rev().find(|segment| !segment.is_empty())?.parse().ok()
}

/// The comment: the verdict first, then the evidence.
fn text(notice: &Notice, change: &Change) -> String {
    let (mark, verdict) = match notice.phase {
        Phase::Succeeded => ("✔", "promoted"),
        Phase::Initialized => ("✔", "serves all traffic"),
        Phase::Failed => ("✖", "rolled back"),
        Phase::Waiting | Phase::WaitingPromotion => ("⏸", "waits for approval"),
        Phase::New
        | Phase::Initializing
        | Phase::Progressing
        | Phase::Promoting
        | Phase::Finalising
        | Phase::Terminating
        | Phase::Terminated => ("◌", "is being rolled out"),
    };
    let about = format!("{}/{}", notice.namespace, notice.canary);
    let cluster = if notice.cluster.is_empty() { String::new() } else { format!(" on {}", plain(&notice.cluster)) };
    let mut text = format!("**{mark} {}: {verdict}{cluster}**\n\n{}\n", plain(&about), plain(&notice.message));
    if !notice.checks.is_empty() {
        text += "\n| check | result | value | threshold | |\n| --- | --- | --- | --- | --- |\n";
        for check in &notice.checks {
            text += &row(check);
        }
    }
    text += &format!("\nCommit {}", short(&change.commit));
    if let Some(page) = &notice.page {
        text += &format!(" · [rollout]({page})");
    }
    text.push('\n');
    text
}

fn row(check: &Check) -> String {
    let cell = |text: Option<&str>| text.map(plain).unwrap_or_default();
    format!(
        "| {} | {} | {} | {} | {} |\n",
        plain(&check.name),
        plain(&check.result),
        cell(check.value.as_deref()),
        cell(check.threshold.as_deref()),
        cell(check.message.as_deref()),
    )
}

/// Text that stays text in Markdown, in a cell as well, and that calls nobody.
fn plain(text: &str) -> String {
    let mut plain = String::new();
    for character in text.chars() {
        match character {
            '\n' | '\r' => plain.push(' '),
            '<' => plain.push_str("&lt;"),
            '@' => plain.push_str("@\u{200b}"),
            '|' | '*' | '_' | '`' | '[' | ']' | '\\' | '#' | '~' => {
                plain.push('\\');
                plain.push(character);
            }
            _ => plain.push(character),
        }
    }
    plain
}
