//! Carries a conversation out: puts the token in, sends, waits, and keeps the token out of what comes back.

use std::fmt;
use std::time::Duration;

use ::http::HeaderValue;
use ::http::header::AUTHORIZATION;
use url::Url;

use super::Forge;
use super::call::{Call, Next};
use super::error::{ForgeError, Problem};
use crate::outside::Outside;

/// Time for one request, answer included.
pub const TIMEOUT: Duration = Duration::from_secs(10);

/// Requests in one conversation; no honest one has as many.
const REQUESTS: usize = 200;

/// A token, as its Secret has it. Shows nothing of itself.
#[derive(Clone, PartialEq, Eq)]
pub struct Token(String);

impl Token {
    /// Without white space around it; `None` when nothing is left.
    pub fn new(text: &str) -> Option<Token> {
        let text = text.trim();
        (!text.is_empty()).then(|| Token(text.to_owned()))
    }

    /// `text` without the token, should a server have repeated it.
    fn keep_out_of(&self, text: String) -> String {
        let mut text = text;
        // Also of a pair the part after the colon is one.
        let secrets = [Some(self.0.as_str()), self.0.split_once(':').map(|(_, password)| password)];
        for secret in secrets.into_iter().flatten().filter(|secret| !secret.is_empty()) {
            text = text.replace(secret, "[token]");
        }
        text
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("Token(…)")
    }
}

/// Asks until the conversation ends, at most [`TIMEOUT`] for each request. `proxy` may be in between.
pub async fn talk<T: Send + 'static>(
    call: Call<T>,
    forge: &dyn Forge,
    token: &Token,
    proxy: Option<&Url>,
    outside: &dyn Outside,
) -> Result<T, ForgeError> {
    let mut call = call;
    for _ in 0..REQUESTS {
        let mut request = call.request()?.clone();
        let failed = |problem| ForgeError { what: format!("asking {}", forge.title()), problem };
        let value = HeaderValue::from_str(&forge.authorization(&token.0));
        let mut value =
            value.map_err(|_| failed(Problem::Address("the token has characters that HTTP does not allow".into())))?;
        value.set_sensitive(true);
        request.headers_mut().insert(AUTHORIZATION, value);
        let answered = outside.exchange(request, proxy).await;
        let response = answered.map_err(|error| failed(Problem::Unreachable(error.to_string())))?;
        match call.answer(response).map_err(|error| without(error, token))? {
            Next::Done(found) => return Ok(found),
            Next::Ask(next) => call = next,
        }
    }
    let what = format!("asking {}", forge.title());
    Err(ForgeError { what, problem: Problem::Unexpected(format!("it took more than {REQUESTS} requests")) })
}

fn without(error: ForgeError, token: &Token) -> ForgeError {
    let clean = |text| token.keep_out_of(text);
    let problem = match error.problem {
        Problem::Address(text) => Problem::Address(clean(text)),
        Problem::Authentication { answer, rights } => Problem::Authentication { answer: clean(answer), rights },
        Problem::Permission { answer, rights } => Problem::Permission { answer: clean(answer), rights },
        Problem::NotFound { answer, rights } => Problem::NotFound { answer: clean(answer), rights },
        Problem::Conflict(text) => Problem::Conflict(clean(text)),
        Problem::RateLimited(again) => Problem::RateLimited(again),
        Problem::Unreachable(text) => Problem::Unreachable(clean(text)),
        Problem::Refused(text) => Problem::Refused(clean(text)),
        Problem::Unexpected(text) => Problem::Unexpected(clean(text)),
        Problem::Unsupported(text) => Problem::Unsupported(text),
    };
    ForgeError { what: clean(error.what), problem }
}
