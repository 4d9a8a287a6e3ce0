//! A conversation with a forge as a value: what is asked, and what its answer means. Nothing here touches a network.

use std::sync::Arc;

use ::http::header::{ACCEPT, CONTENT_TYPE};
use ::http::{HeaderValue, Method};
use serde_json::Value;
use url::Url;

use super::error::{About, ForgeError, Problem};

/// What is sent; without the token, which is put in last.
pub type Request = ::http::Request<Vec<u8>>;

/// What came back.
pub type Response = ::http::Response<Vec<u8>>;

/// Pages that are read of one list; what comes after them is not looked at.
const PAGES: u32 = 20;

type Read<T> = Box<dyn FnOnce(Response) -> Result<Next<T>, ForgeError> + Send>;

/// One request, and how to go on from its answer. It ends in a `T`, maybe after further requests.
pub struct Call<T> {
    request: Box<Result<Request, ForgeError>>,
    read: Read<T>,
}

/// Where a conversation stands.
pub enum Next<T> {
    /// At its end.
    Done(T),
    /// There is more to ask.
    Ask(Call<T>),
}

/// What goes along with a request.
pub(super) enum Body {
    None,
    Json(Value),
    /// Content type and bytes.
    Raw(String, Vec<u8>),
}

/// A part of a list, and where the next one begins.
pub(super) struct Page<T> {
    pub(super) items: Vec<T>,
    pub(super) next: Option<u64>,
}

impl<T: Send + 'static> Call<T> {
    /// Asks once; `read` is given what the forge answered with 2xx, everything else is an error already.
    pub(super) fn new(
        about: &About,
        method: Method,
        url: &Url,
        body: Body,
        read: impl FnOnce(Answer) -> Result<T, ForgeError> + Send + 'static,
    ) -> Call<T> {
        let (request, about) = (Box::new(request(about, method, url, body)), about.clone());
        let read = move |response: Response| {
            if let Some(problem) = super::error::problem_of(&response, &about) {
                return Err(about.error(problem));
            }
            read(Answer { about, response }).map(Next::Done)
        };
        Call { request, read: Box::new(read) }
    }

    /// What is to be sent now.
    pub fn request(&self) -> Result<&Request, ForgeError> {
        (*self.request).as_ref().map_err(Clone::clone)
    }

    /// Goes on with the answer to [`Call::request`].
    pub fn answer(self, response: Response) -> Result<Next<T>, ForgeError> {
        (self.read)(response)
    }

    /// Goes on with another conversation when this one has ended.
    pub(super) fn then<U, F>(self, next: F) -> Call<U>
    where
        U: Send + 'static,
        F: FnOnce(T) -> Result<Next<U>, ForgeError> + Send + 'static,
    {
        let read = self.read;
        let read = move |response| match read(response)? {
            Next::Done(found) => next(found),
            Next::Ask(call) => Ok(Next::Ask(call.then(next))),
        };
        Call { request: self.request, read: Box::new(read) }
    }

    /// Another value at the end.
    pub(super) fn map<U: Send + 'static>(self, change: impl FnOnce(T) -> U + Send + 'static) -> Call<U> {
        self.then(move |found| Ok(Next::Done(change(found))))
    }

    /// Goes on after an error, or gives it back.
    pub(super) fn recover<F>(self, mend: F) -> Call<T>
    where
        F: FnOnce(ForgeError) -> Result<Next<T>, ForgeError> + Send + 'static,
    {
        let read = self.read;
        let read = move |response| match read(response) {
            Ok(Next::Done(found)) => Ok(Next::Done(found)),
            Ok(Next::Ask(call)) => Ok(Next::Ask(call.recover(mend))),
            Err(error) => mend(error),
        };
        Call { request: self.request, read: Box::new(read) }
    }

    /// A conversation that cannot begin.
    pub(super) fn failed(error: ForgeError) -> Call<T> {
        let again = error.clone();
        Call { request: Box::new(Err(error)), read: Box::new(move |_| Err(again)) }
    }
}

/// All items of a list that comes in pages; `ask` asks for the page that begins there.
pub(super) fn pages<T, F>(first: u64, ask: F) -> Call<Vec<T>>
where
    T: Send + 'static,
    F: Fn(u64) -> Call<Page<T>> + Send + Sync + 'static,
{
    fn from<T: Send + 'static>(
        start: u64,
        left: u32,
        mut kept: Vec<T>,
        ask: Arc<dyn Fn(u64) -> Call<Page<T>> + Send + Sync>,
    ) -> Call<Vec<T>> {
        ask(start).then(move |page| {
            kept.extend(page.items);
            match page.next {
                Some(next) if left > 1 && next > start => Ok(Next::Ask(from(next, left - 1, kept, ask))),
                Some(_) | None => Ok(Next::Done(kept)),
            }
        })
    }
    from(first, PAGES, Vec::new(), Arc::new(ask))
}

/// An answer that is not an error.
pub(super) struct Answer {
    about: About,
    response: Response,
}

impl Answer {
    /// Its JSON.
    pub(super) fn json(&self) -> Result<Value, ForgeError> {
        serde_json::from_slice(self.response.body())
            .map_err(|error| self.about.error(Problem::Unexpected(format!("the answer is not JSON: {error}"))))
    }

    /// The error for an answer that lacks something.
    pub(super) fn lacks(&self, what: &str) -> ForgeError {
        self.about.error(Problem::Unexpected(format!("the answer has no {what}")))
    }

    /// A text in its JSON.
    pub(super) fn text(&self, pointer: &str) -> Result<String, ForgeError> {
        let json = self.json()?;
        json.pointer(pointer).and_then(Value::as_str).map(str::to_owned).ok_or_else(|| self.lacks(pointer))
    }

    /// A header.
    pub(super) fn header(&self, name: &str) -> Option<String> {
        Some(self.response.headers().get(name)?.to_str().ok()?.to_owned())
    }

    /// The list at a pointer of its JSON.
    pub(super) fn list(&self, pointer: &str) -> Result<Vec<Value>, ForgeError> {
        match self.json()?.pointer_mut(pointer).map(Value::take) {
            Some(Value::Array(items)) => Ok(items),
            Some(_) | None => Err(self.lacks(&format!("list at {pointer:?}"))),
        }
    }
}

/// A URL below `base`; each segment and each value is encoded.
pub(super) fn url<'a>(base: &Url, path: impl IntoIterator<Item = &'a str>, query: &[(&str, &str)]) -> Url {
    let mut url = base.clone();
    if let Ok(mut segments) = url.path_segments_mut() {
        segments.pop_if_empty().extend(path);
    }
    if !query.is_empty() {
        url.query_pairs_mut().extend_pairs(query);
    }
    url
}

fn request(about: &About, method: Method, url: &Url, body: Body) -> Result<Request, ForgeError> {
    let wrong = |what: String| about.error(Problem::Address(what));
    let uri =
        url.as_str().parse::<::http::Uri>().map_err(|error| wrong(format!("its address cannot be used: {error}")))?;
    let (content_type, body) = match body {
        Body::None => (None, Vec::new()),
        Body::Json(value) => (Some("application/json".to_owned()), value.to_string().into_bytes()),
        Body::Raw(content_type, bytes) => (Some(content_type), bytes),
    };
    let mut request = Request::new(body);
    *request.method_mut() = method;
    *request.uri_mut() = uri;
    request.headers_mut().insert(ACCEPT, HeaderValue::from_static("application/json"));
    if let Some(content_type) = content_type {
        let value = HeaderValue::from_str(&content_type).map_err(|error| wrong(error.to_string()))?;
        request.headers_mut().insert(CONTENT_TYPE, value);
    }
    Ok(request)
}
