//! Passes requests on to `MiniStack`.

use anyhow::Context as _;
use bytes::Bytes;
use http::uri::{Authority, PathAndQuery, Scheme};
use http::{HeaderMap, Request, Response, Uri, header};
use http_body_util::{BodyExt as _, Full};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;

/// Headers that belong to one connection, and `Expect`, which the edge has already answered.
const HOP_BY_HOP: [header::HeaderName; 6] =
    [header::CONNECTION, header::EXPECT, header::TE, header::TRAILER, header::TRANSFER_ENCODING, header::UPGRADE];

/// A connection pool to one HTTP server.
#[derive(Debug, Clone)]
pub(crate) struct Forward {
    client: Client<HttpConnector, Full<Bytes>>,
    authority: String,
}

impl Forward {
    pub(crate) fn new(authority: String) -> Self {
        let client = Client::builder(TokioExecutor::new()).build_http();
        Self { client, authority }
    }

    /// Sends a request as it is, the Host header too, which its signature covers.
    pub(crate) async fn send(&self, request: Request<Bytes>) -> anyhow::Result<Response<Bytes>> {
        let (mut parts, body) = request.into_parts();
        let path = parts.uri.path_and_query().cloned().unwrap_or_else(|| PathAndQuery::from_static("/"));
        let authority: Authority = self.authority.parse()?;
        parts.uri = Uri::builder().scheme(Scheme::HTTP).authority(authority).path_and_query(path).build()?;
        parts.version = http::Version::HTTP_11;
        strip(&mut parts.headers);
        let answer = self
            .client
            .request(Request::from_parts(parts, Full::new(body)))
            .await
            .with_context(|| format!("call {}", self.authority))?;
        let (mut parts, body) = answer.into_parts();
        strip(&mut parts.headers);
        let body = body.collect().await.context("read the answer")?.to_bytes();
        Ok(Response::from_parts(parts, body))
    }
}

fn strip(headers: &mut HeaderMap) {
    for name in HOP_BY_HOP {
        headers.remove(name);
    }
}
