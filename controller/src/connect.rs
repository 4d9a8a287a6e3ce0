//! The connection to the Kubernetes API.

use anyhow::Context as _;
use hyper_timeout::TimeoutConnector;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use kube::client::{Body, ConfigExt};
use kube::{Client, Config};
use tower::{BoxError, ServiceBuilder};

/// A client that sends at once. The library's own leaves it to the kernel to gather small packets, which holds each
/// write back until the server has acknowledged its first half: some 40 ms.
///
/// # Errors
/// When the credentials or certificates of the configuration cannot be used.
pub fn client(config: Config) -> anyhow::Result<Client> {
    if config.proxy_url.is_some() {
        return Client::try_from(config).context("making a client for the Kubernetes API");
    }
    let mut connector = HttpConnector::new();
    connector.enforce_http(false);
    connector.set_nodelay(true);
    let connector = config
        .rustls_https_connector_with_connector(connector)
        .context("using the certificates of the Kubernetes API")?;
    let mut connector = TimeoutConnector::new(connector);
    connector.set_connect_timeout(config.connect_timeout);
    connector.set_read_timeout(config.read_timeout);
    connector.set_write_timeout(config.write_timeout);
    connector.set_reset_reader_on_write(config.reset_reader_on_write);
    let transport: hyper_util::client::legacy::Client<_, Body> =
        hyper_util::client::legacy::Client::builder(TokioExecutor::new()).build(connector);
    let service = ServiceBuilder::new()
        .layer(config.base_uri_layer())
        .option_layer(config.auth_layer().context("using the credentials for the Kubernetes API")?)
        .layer(config.extra_headers_layer().context("using the headers for the Kubernetes API")?)
        .map_err(BoxError::from)
        .service(transport);
    Ok(Client::new(service, config.default_namespace))
}
