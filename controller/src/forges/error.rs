//! What can go wrong with a forge, in kinds that a caller can act upon.

use std::time::Duration;

use jiff::Timestamp;
use serde_json::Value;

use super::call::Response;
use super::{Forge, Repository};
use crate::http;

/// Longest part of an answer in an error, in characters.
const ANSWER: usize = 300;

/// What was being tried, and why it did not come about. Neither has a token in it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{what}: {problem}")]
pub struct ForgeError {
    /// What was being tried, and where.
    pub what: String,
    /// Why it did not come about.
    pub problem: Problem,
}

/// Why something did not come about.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Problem {
    /// The address of the repository cannot be used.
    #[error("{0}")]
    Address(String),
    /// Who asks is not known.
    #[error("the token is not accepted ({answer}): write a valid one; it needs {rights}")]
    Authentication {
        /// The forge's words.
        answer: String,
        /// What the token must be allowed.
        rights: &'static str,
    },
    /// Who asks is known and may not.
    #[error("the token may not do this ({answer}); it needs {rights}")]
    Permission {
        /// The forge's words.
        answer: String,
        /// What the token must be allowed.
        rights: &'static str,
    },
    /// There is no such repository, commit, branch or pull request, or the token may not see it.
    #[error("not found, or the token may not see it ({answer}); it needs {rights}")]
    NotFound {
        /// The forge's words.
        answer: String,
        /// What the token must be allowed.
        rights: &'static str,
    },
    /// It is there already, or somebody else was faster.
    #[error("conflict: {0}")]
    Conflict(String),
    /// Too many requests.
    #[error("too many requests; try again {0}")]
    RateLimited(Again),
    /// The forge was not reached, or is broken at present.
    #[error("{0}")]
    Unreachable(String),
    /// Any other no.
    #[error("refused: {0}")]
    Refused(String),
    /// An answer that is not as documented.
    #[error("{0}")]
    Unexpected(String),
    /// The forge has no means for this.
    #[error("{0}")]
    Unsupported(&'static str),
}

/// When the forge lets us ask again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Again {
    /// After this long.
    After(Duration),
    /// At this time.
    At(Timestamp),
    /// It did not say.
    Later,
}

impl std::fmt::Display for Again {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Again::After(pause) => write!(out, "in {} s", pause.as_secs()),
            Again::At(time) => write!(out, "at {time}"),
            Again::Later => out.write_str("later"),
        }
    }
}

impl Problem {
    /// True when the same request may succeed later without anybody changing anything.
    pub fn is_passing(&self) -> bool {
        match self {
            Problem::RateLimited(_) | Problem::Unreachable(_) => true,
            Problem::Address(_)
            | Problem::Authentication { .. }
            | Problem::Permission { .. }
            | Problem::NotFound { .. }
            | Problem::Conflict(_)
            | Problem::Refused(_)
            | Problem::Unexpected(_)
            | Problem::Unsupported(_) => false,
        }
    }
}

/// What is being tried; makes errors.
#[derive(Clone)]
pub(super) struct About {
    forge: &'static dyn Forge,
    what: String,
}

impl About {
    /// `doing` as in "setting the status of commit 4f2c1e9".
    pub(super) fn new(repository: &Repository, doing: &str) -> About {
        let what = format!("{doing} in {} on {}", repository.name(), repository.forge.title());
        About { forge: repository.forge, what }
    }

    pub(super) fn error(&self, problem: Problem) -> ForgeError {
        ForgeError { what: self.what.clone(), problem }
    }
}

/// What an answer says that is not a success; `None` for a success.
pub(super) fn problem_of(response: &Response, about: &About) -> Option<Problem> {
    let status = response.status();
    let rights = about.forge.rights();
    // Azure DevOps answers a bad token with its sign-in page and 203.
    if status.is_success() && status.as_u16() != 203 {
        return None;
    }
    let said = words(response.body());
    let answer = if said.is_empty() { status.to_string() } else { format!("{status}: {said}") };
    let limited = matches!(status.as_u16(), 403 | 429) && (status.as_u16() == 429 || is_limit(response, &said));
    if limited {
        return Some(Problem::RateLimited(again(response)));
    }
    let taken = said.to_ascii_lowercase().contains("already exists");
    Some(match status.as_u16() {
        203 => Problem::Authentication { answer: "a sign-in page".into(), rights },
        401 => Problem::Authentication { answer, rights },
        403 => Problem::Permission { answer, rights },
        404 => Problem::NotFound { answer, rights },
        409 => Problem::Conflict(answer),
        400 | 422 if taken => Problem::Conflict(answer),
        500.. => Problem::Unreachable(format!("it answers {answer}")),
        300..400 => Problem::Refused(format!(
            "{status}, a redirect that is not followed: write the address where the repository is now"
        )),
        _ => Problem::Refused(answer),
    })
}

/// GitHub says 403 for a limit as well, and tells it apart by its headers.
fn is_limit(response: &Response, said: &str) -> bool {
    let none_left = response.headers().get("x-ratelimit-remaining").is_some_and(|left| left.as_bytes() == b"0");
    none_left || response.headers().contains_key("retry-after") || said.contains("rate limit")
}

fn again(response: &Response) -> Again {
    let number = |name: &str| response.headers().get(name)?.to_str().ok()?.trim().parse::<i64>().ok();
    if let Some(seconds) = number("retry-after").and_then(|seconds| u64::try_from(seconds).ok()) {
        return Again::After(Duration::from_secs(seconds));
    }
    let reset = number("x-ratelimit-reset").or_else(|| number("ratelimit-reset"));
    match reset.and_then(|seconds| Timestamp::from_second(seconds).ok()) {
        Some(time) => Again::At(time),
        None => Again::Later,
    }
}

/// What a forge says in an error: each has its own place for that.
fn words(body: &[u8]) -> String {
    let Ok(json) = serde_json::from_slice::<Value>(body) else {
        // A page for people tells nothing.
        return if body.trim_ascii_start().starts_with(b"<") { String::new() } else { http::excerpt(body, ANSWER) };
    };
    let mut found: Vec<String> = Vec::new();
    let places = ["/message", "/error/message", "/error_description", "/error", "/errors/0/message", "/errors/0"];
    for place in places {
        let text = match json.pointer(place) {
            Some(Value::String(text)) => text.clone(),
            // GitLab lists what is wrong by field.
            Some(value) if place == "/message" => value.to_string(),
            Some(_) | None => continue,
        };
        if !text.is_empty() && !found.contains(&text) {
            found.push(text);
        }
    }
    http::excerpt(found.join("; ").as_bytes(), ANSWER)
}
