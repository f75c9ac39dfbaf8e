//! The bucket of reports.

use bytes::Bytes;
use direct_call::Caller;
use hub::AwsError;

use crate::ports::{File, Store};

/// The bucket of reports.
#[derive(Debug, Clone)]
pub struct ReportBucket {
    caller: Caller,
    bucket: String,
}

impl ReportBucket {
    /// A bucket.
    pub fn new(caller: Caller, bucket: &str) -> Self {
        Self { caller, bucket: bucket.to_owned() }
    }
}

impl Store for ReportBucket {
    async fn earlier(&self) -> Result<Option<Vec<u8>>, AwsError> {
        let found = self.caller.get_object("s3:GetObject", &self.bucket, File::Summary.name()).await?;
        Ok(found.map(Vec::from))
    }

    async fn write(&self, file: File, content: Vec<u8>) -> Result<(), AwsError> {
        let (name, kind) = (file.name(), file.content_type());
        self.caller.put_object("s3:PutObject", &self.bucket, name, kind, Bytes::from(content)).await
    }
}
