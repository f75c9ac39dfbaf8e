//! `MiniStack`, as everything before it uses it.

use crate::access::Access;
use crate::forward::Forward;

/// Where it is, and who may do what there.
#[derive(Debug)]
pub(crate) struct Upstream {
    pub(crate) forward: Forward,
    pub(crate) access: Access,
    authority: String,
}

impl Upstream {
    /// The one at `127.0.0.1:PORT`.
    pub(crate) fn new(authority: String) -> Self {
        let forward = Forward::new(authority.clone());
        Self { access: Access::new(forward.clone()), forward, authority }
    }

    /// `127.0.0.1:PORT`.
    pub(crate) fn host(&self) -> &str {
        &self.authority
    }
}
