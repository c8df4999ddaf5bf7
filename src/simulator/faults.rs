//! Faults of the transport: what is done to requests on their way, by method and path.

use std::time::Duration;

use http::{Method, StatusCode};
use jiff::Timestamp;
use serde::Deserialize;

use super::state::later;

/// Which requests, what is done to them, and how often.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct HttpFault {
    /// Only requests of this method; absent: of all.
    #[serde(default)]
    pub method: Option<String>,
    /// Only requests whose path and query contain this; absent: all. Requests to `/admin` are never touched.
    #[serde(default)]
    pub path: Option<String>,
    /// What is done.
    pub answer: FaultAnswer,
    /// How often; absent and without `seconds`: once.
    #[serde(default)]
    pub times: Option<u32>,
    /// For how long, in seconds of real time; absent: until `times` is used up.
    #[serde(default)]
    pub seconds: Option<f64>,
    /// With `delay`: how long the request is held, milliseconds.
    #[serde(default)]
    pub delay_ms: u64,
}

/// What is done to a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FaultAnswer {
    /// The connection is closed; nothing is carried out.
    Reset,
    /// The request is carried out; the connection is closed without an answer.
    LoseReply,
    /// The request is carried out later.
    Delay,
    /// 503 with a page of HTML, as a proxy says it.
    Html,
    /// 200 with a page of HTML, as a portal in front of the service says it.
    Page,
    /// 200 with a JSON object that has nothing in it.
    Empty,
    /// This status with OpenStack's kind of body.
    Status(StatusCode),
}

impl FaultAnswer {
    /// The word in the list of requests.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Reset => "reset",
            Self::LoseReply => "lose_reply",
            Self::Delay => "delay",
            Self::Html => "html",
            Self::Page => "page",
            Self::Empty => "empty",
            Self::Status(_) => "status",
        }
    }
}

impl<'de> Deserialize<'de> for FaultAnswer {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let word = String::deserialize(deserializer)?;
        let status = || word.parse::<u16>().ok().filter(|code| (400..600).contains(code)).and_then(|code| StatusCode::from_u16(code).ok());
        match word.as_str() {
            "reset" => Ok(Self::Reset),
            "lose_reply" => Ok(Self::LoseReply),
            "delay" => Ok(Self::Delay),
            "html" => Ok(Self::Html),
            "page" => Ok(Self::Page),
            "empty" => Ok(Self::Empty),
            _ => status().map(Self::Status).ok_or_else(|| {
                serde::de::Error::custom(format!(
                    "answer {word:?} is none of reset, lose_reply, delay, html, page, empty, or a status from 400 to 599 such as \"503\""
                ))
            }),
        }
    }
}

/// The faults in force, oldest first; the first that fits is used.
#[derive(Debug, Default)]
pub(crate) struct HttpFaults(Vec<Active>);

#[derive(Debug)]
struct Active {
    fault: HttpFault,
    left: Option<u32>,
    until: Option<Timestamp>,
}

impl HttpFaults {
    pub(crate) fn add(&mut self, fault: HttpFault, now: Timestamp) {
        let seconds = fault.seconds.and_then(|seconds| Duration::try_from_secs_f64(seconds).ok());
        let left = if fault.seconds.is_none() { fault.times.or(Some(1)) } else { fault.times };
        self.0.push(Active { left, until: seconds.map(|seconds| later(now, seconds)), fault });
    }

    pub(crate) fn clear(&mut self) {
        self.0.clear();
    }

    /// What is to be done to this request, if anything; uses the fault up by one.
    pub(crate) fn take(&mut self, method: &Method, path: &str, now: Timestamp) -> Option<HttpFault> {
        self.0.retain(|active| active.left != Some(0) && active.until.is_none_or(|until| now < until));
        if path.starts_with("/admin") {
            return None;
        }
        let fits = |fault: &HttpFault| {
            fault.method.as_deref().is_none_or(|wanted| method.as_str().eq_ignore_ascii_case(wanted))
                && fault.path.as_deref().is_none_or(|wanted| path.contains(wanted))
        };
        let active = self.0.iter_mut().find(|active| fits(&active.fault))?;
        active.left = active.left.map(|left| left.saturating_sub(1));
        Some(active.fault.clone())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fault(json: &str) -> HttpFault {
        serde_json::from_str(json).unwrap()
    }

    #[test]
    fn a_fault_without_a_count_strikes_once_and_only_where_it_fits() {
        let mut faults = HttpFaults::default();
        let now = Timestamp::UNIX_EPOCH;
        faults.add(fault(r#"{"method": "POST", "path": "/action", "answer": "lose_reply"}"#), now);
        assert!(faults.take(&Method::GET, "/compute/v2.1/servers/x/action", now).is_none());
        assert!(faults.take(&Method::POST, "/admin/action", now).is_none());
        assert_eq!(faults.take(&Method::POST, "/compute/v2.1/servers/x/action", now).unwrap().answer, FaultAnswer::LoseReply);
        assert!(faults.take(&Method::POST, "/compute/v2.1/servers/x/action", now).is_none());
    }

    #[test]
    fn a_fault_with_seconds_strikes_until_they_are_over() {
        let mut faults = HttpFaults::default();
        let start = Timestamp::UNIX_EPOCH;
        faults.add(fault(r#"{"path": "/compute", "answer": "503", "seconds": 20}"#), start);
        let after = |seconds| start + jiff::SignedDuration::from_secs(seconds);
        assert!(faults.take(&Method::GET, "/compute/v2.1/os-services", after(0)).is_some());
        assert!(faults.take(&Method::GET, "/compute/v2.1/os-services", after(19)).is_some());
        assert!(faults.take(&Method::GET, "/compute/v2.1/os-services", after(20)).is_none());
    }

    #[test]
    fn an_unknown_answer_is_refused_with_what_there_is() {
        let error = serde_json::from_str::<HttpFault>(r#"{"answer": "explode"}"#).unwrap_err();
        assert!(error.to_string().contains("lose_reply"), "{error}");
    }
}
