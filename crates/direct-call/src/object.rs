//! Objects of S3.

use bytes::Bytes;
use hub::AwsError;

use crate::{Caller, Unsigned};

/// The name in the signatures, and the first part of the host name.
pub(crate) const S3: &str = "s3";

impl Caller {
    /// Reads an object; nothing if it is not there. `name` is `s3:GetObject`. S3 says that an object is not there only to
    /// whoever may list the bucket; others are refused.
    ///
    /// # Errors
    /// What S3 answers, after the SDK's retries.
    pub async fn get_object(&self, name: &'static str, bucket: &str, key: &str) -> Result<Option<Bytes>, AwsError> {
        let request = self.object("GetObject", http::Method::GET, bucket, key, Vec::new());
        match self.send(name, request, Bytes::new()).await {
            Ok(body) => Ok(Some(body)),
            Err(error) if error.code == "NoSuchKey" => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Writes an object. `name` is `s3:PutObject`.
    ///
    /// # Errors
    /// What S3 answers, after the SDK's retries.
    pub async fn put_object(
        &self,
        name: &'static str,
        bucket: &str,
        key: &str,
        content_type: &str,
        body: Bytes,
    ) -> Result<(), AwsError> {
        let headers = vec![("content-type", content_type.to_owned())];
        let request = self.object("PutObject", http::Method::PUT, bucket, key, headers);
        self.send(name, request, body).await.map(drop)
    }

    /// The names of buckets and keys that come here need no encoding: letters, digits, dots, hyphens and slashes.
    fn object(
        &self,
        operation: &'static str,
        method: http::Method,
        bucket: &str,
        key: &str,
        headers: Vec<(&'static str, String)>,
    ) -> Unsigned {
        let base = self.base(S3);
        // An endpoint of one's own has no host for each bucket.
        let (base, path) = match base.strip_prefix("https://s3").filter(|_| self.config.endpoint_url().is_none()) {
            Some(rest) => (format!("https://{bucket}.s3{rest}"), format!("/{key}")),
            None => (base, format!("/{bucket}/{key}")),
        };
        Unsigned { service: S3, operation, base, method, path, headers }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use aws_types::SdkConfig;
    use aws_types::region::Region;

    use super::*;

    fn place(region: &'static str, endpoint: Option<&str>) -> (String, String) {
        let mut config = SdkConfig::builder().region(Region::new(region));
        config.set_endpoint_url(endpoint.map(str::to_owned));
        let caller = Caller::new(&config.build(), Duration::from_secs(1));
        let request = caller.object("GetObject", http::Method::GET, "tag-hub-fleet-1", "fleet.json", Vec::new());
        (request.base, request.path)
    }

    #[test]
    fn a_bucket_is_a_host_at_aws_and_a_path_elsewhere() {
        let at_aws = place("us-gov-west-1", None);
        assert_eq!(
            at_aws,
            ("https://tag-hub-fleet-1.s3.us-gov-west-1.amazonaws.com".to_owned(), "/fleet.json".to_owned())
        );
        let elsewhere = place("us-east-1", Some("http://127.0.0.1:4566/"));
        assert_eq!(elsewhere, ("http://127.0.0.1:4566".to_owned(), "/tag-hub-fleet-1/fleet.json".to_owned()));
    }
}
