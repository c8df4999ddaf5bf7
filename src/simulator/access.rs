//! The list of the requests that the cloud was asked, in order: how a test proves what a client did, and did not do.

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::path::Path;

use jiff::Timestamp;
use serde::Serialize;

/// One request.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Request {
    /// Its number, from 1.
    pub number: u64,
    /// When it came.
    pub at: Timestamp,
    /// Its method.
    pub method: String,
    /// Its path with the query, as it was sent.
    pub path: String,
    /// The status of the answer, also of one that was lost; 0 when the request was not carried out.
    pub status: u16,
    /// What was done to it by a fault, if anything.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub fault: Option<&'static str>,
}

impl Request {
    /// Whether it may have changed something in Nova or Placement: everything there that is neither GET nor HEAD. A POST to Keystone for a token changes nothing.
    #[must_use]
    pub fn is_write(&self) -> bool {
        !matches!(self.method.as_str(), "GET" | "HEAD") && !self.path.starts_with("/identity/")
    }
}

/// Most requests that are kept in memory; when there are more, the older half is forgotten, and the numbers show it. The file keeps all.
const KEPT: usize = 100_000;

/// What was asked.
#[derive(Debug, Default)]
pub(crate) struct AccessLog {
    requests: Vec<Request>,
    count: u64,
    file: Option<File>,
}

impl AccessLog {
    /// A list that is also appended to a file, when one is given, as one JSON object per line.
    pub(crate) fn open(path: Option<&Path>) -> io::Result<Self> {
        let file = path.map(|path| OpenOptions::new().create(true).append(true).open(path)).transpose()?;
        Ok(Self { file, ..Self::default() })
    }

    pub(crate) fn add(&mut self, mut request: Request) {
        self.count += 1;
        request.number = self.count;
        if let (Some(file), Ok(mut line)) = (&mut self.file, serde_json::to_string(&request)) {
            line.push('\n');
            if let Err(error) = file.write_all(line.as_bytes()) {
                tracing::warn!(%error, "The access log cannot be written any more; requests are only kept in memory");
                self.file = None;
            }
        }
        if self.requests.len() >= KEPT {
            self.requests.drain(..KEPT / 2);
        }
        self.requests.push(request);
    }

    pub(crate) fn requests(&self) -> &[Request] {
        &self.requests
    }

    /// Forgets the requests in memory; the numbers go on and the file stays.
    pub(crate) fn clear(&mut self) {
        self.requests.clear();
    }
}
