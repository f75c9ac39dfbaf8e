//! Signature Version 4.

use anyhow::Context as _;
use aws_sigv4::http_request::{
    PayloadChecksumKind, PercentEncodingMode, SignableBody, SignableRequest, SigningSettings, UriPathNormalizationMode,
    sign,
};
use aws_sigv4::sign::v4;
use bytes::Bytes;
use http::{HeaderValue, Request, header};

use crate::clock;

/// An access key, for a session with its token.
#[derive(Debug, Clone)]
pub(crate) struct Credentials {
    pub(crate) access_key: String,
    pub(crate) secret_key: String,
    pub(crate) session_token: Option<String>,
}

impl Credentials {
    /// The root of an account: here any secret will do.
    pub(crate) fn root(account: &str) -> Self {
        Self { access_key: account.to_owned(), secret_key: "secret".to_owned(), session_token: None }
    }
}

/// The request with its signature, for a server at `host`.
pub(crate) fn signed(
    mut request: Request<Bytes>,
    host: &str,
    service: &str,
    region: &str,
    credentials: &Credentials,
) -> anyhow::Result<Request<Bytes>> {
    request.headers_mut().insert(header::HOST, HeaderValue::from_str(host)?);
    let mut settings = SigningSettings::default();
    if service == "s3" {
        settings.percent_encoding_mode = PercentEncodingMode::Single;
        settings.uri_path_normalization_mode = UriPathNormalizationMode::Disabled;
        settings.payload_checksum_kind = PayloadChecksumKind::XAmzSha256;
    }
    let identity = aws_credential_types::Credentials::new(
        &credentials.access_key,
        &credentials.secret_key,
        credentials.session_token.clone(),
        None,
        "local-aws",
    )
    .into();
    let params = v4::SigningParams::builder()
        .identity(&identity)
        .region(region)
        .name(service)
        .time(clock::now())
        .settings(settings)
        .build()?
        .into();
    let uri = format!("http://{host}{}", request.uri().path_and_query().map_or("/", |path| path.as_str()));
    let headers: Vec<(String, String)> = request
        .headers()
        .iter()
        .map(|(name, value)| Ok((name.as_str().to_owned(), value.to_str()?.to_owned())))
        .collect::<anyhow::Result<_>>()?;
    let headers = headers.iter().map(|(name, value)| (name.as_str(), value.as_str()));
    let signable = SignableRequest::new(request.method().as_str(), uri, headers, SignableBody::Bytes(request.body()))
        .context("describe the request")?;
    let (instructions, _) = sign(signable, &params).context("sign the request")?.into_parts();
    instructions.apply_to_request_http1x(&mut request);
    Ok(request)
}
