//! With whose rights a GitSource is applied.

use http::{HeaderName, HeaderValue, Request};
use kube::Client;
use kube::client::Body;

use super::problem::{Problem, Reason};
use super::source::Source;

const IMPERSONATE_USER: HeaderName = HeaderName::from_static("impersonate-user");

/// A client that acts for the source: as the ServiceAccount that it names, in its own namespace, or as Serin itself. It
/// shares the connections of `client`.
///
/// # Errors
/// When the name cannot be one of a ServiceAccount.
pub fn client(client: &Client, source: &Source) -> Result<Client, Problem> {
    let Some(account) = &source.account else { return Ok(client.clone()) };
    let user = format!("system:serviceaccount:{}:{account}", source.key.namespace);
    let user = HeaderValue::from_str(&user).map_err(|_| {
        let message = format!("spec.serviceAccountName: {account:?} is not a name of a ServiceAccount");
        Problem::new(Reason::InvalidSpec, message)
    })?;
    let below = client.clone();
    let service = tower::service_fn(move |mut request: Request<Body>| {
        // The API server adds the groups of a ServiceAccount by itself.
        request.headers_mut().insert(IMPERSONATE_USER, user.clone());
        let below = below.clone();
        async move { below.send(request).await }
    });
    Ok(Client::new(service, source.namespace.clone()))
}
