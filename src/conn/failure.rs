//! Why a request was not done, in the words of the protocol.

use crate::rooms::directory::Error;

/// What an `error` frame says, before it is one.
pub(super) struct Failure {
    pub(super) code: &'static str,
    pub(super) detail: String,
    pub(super) retry_after: Option<f64>,
}

impl Failure {
    pub(super) fn new(code: &'static str, detail: impl Into<String>) -> Self {
        Self {
            code,
            detail: detail.into(),
            retry_after: None,
        }
    }
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        if let Some(cause) = error.cause() {
            tracing::warn!(cause, code = error.code(), "a request was not done");
        }
        let code = if error.code() == "invalid_request" {
            "invalid_frame"
        } else {
            error.code()
        };
        Self {
            code,
            detail: error.to_string(),
            retry_after: error.retry_after(),
        }
    }
}
