//! What the JSON formats share: values of an odd type that count as absent, and lines with bytes that JSON forbids.

use serde::Deserialize;
use serde::de::IgnoredAny;

/// A value of the wanted type, or any other, which counts as absent.
#[derive(Deserialize)]
#[serde(untagged)]
pub(super) enum Lenient<T> {
    Wanted(T),
    Other(IgnoredAny),
}

impl<T> Default for Lenient<T> {
    fn default() -> Self {
        Self::Other(IgnoredAny)
    }
}

impl<T> Lenient<T> {
    pub(super) fn as_ref(&self) -> Option<&T> {
        match self {
            Self::Wanted(value) => Some(value),
            Self::Other(_) => None,
        }
    }

    pub(super) fn get(self) -> Option<T> {
        match self {
            Self::Wanted(value) => Some(value),
            Self::Other(_) => None,
        }
    }
}

/// The line with what is not UTF-8 replaced and the control bytes inside strings escaped; `None` when there was nothing to repair.
pub(super) fn repair(line: &[u8]) -> Option<Vec<u8>> {
    let text = String::from_utf8_lossy(line);
    let mut repaired = Vec::with_capacity(text.len());
    let (mut in_string, mut escaped) = (false, false);
    for byte in text.bytes() {
        if in_string && byte < 0x20 {
            // A backslash in front of a raw control byte would make an escape that JSON does not have.
            let code = format!("u00{byte:02x}");
            if !escaped {
                repaired.push(b'\\');
            }
            repaired.extend_from_slice(code.as_bytes());
            escaped = false;
            continue;
        }
        match byte {
            _ if escaped => escaped = false,
            b'\\' if in_string => escaped = true,
            b'"' => in_string = !in_string,
            _ => {}
        }
        repaired.push(byte);
    }
    (repaired != line).then_some(repaired)
}

/// A text as JSON writes it between quotes.
pub(super) fn escaped(text: &str) -> String {
    let quoted = serde_json::Value::from(text).to_string();
    quoted.strip_prefix('"').and_then(|rest| rest.strip_suffix('"')).unwrap_or_default().to_owned()
}
