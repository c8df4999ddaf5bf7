//! Sidestep's mark: what it writes into Nova's `disabled_reason`, so that a host that it took out of service can be told from one that an operator did, by anybody and for ever.
//!
//! ```text
//! sidestep/0b6f8a4e-5c1d-4c0e-9a3f-6c1f1d2e3a4b before=enabled: suricata 1:2024897 from 10.0.4.7
//!          UID of the HostQuarantine            state before    why, for people
//! ```
//!
//! Where the host was out of service with a reason, that reason follows at the end: `... before=disabled: suricata 1:2024897 from 10.0.4.7 [was: disk swap]`.
//!
//! `before` is the state that release restores. A later quarantine of a host that carries a mark already did not find the host as people left it; [`found`] therefore
//! takes `before` from the mark.
//!
//! Nova takes 1 to 255 characters (JSON schema of `PUT /os-services/{id}`) and stores them in a MySQL column of three-byte UTF-8, where a character beyond U+FFFF is an error of the
//! database; so text is cut between characters, and such characters and control characters are replaced: nothing that a sensor wrote can make the request fail.

use super::{ComputeService, ServiceStatus};

/// What every mark begins with. It is never `AUTO:`, which is how nova-compute marks a host that it disabled by itself and may enable by itself.
const PREFIX: &str = "sidestep/";

/// What stands around an earlier reason at the end of a mark.
const WAS: &str = " [was: ";
const END: char = ']';

/// The longest `disabled_reason` that Nova takes, in characters.
pub const REASON_MAX_CHARS: usize = 255;

/// A mark, as made or as read back from Nova.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mark {
    /// The UID of the HostQuarantine that disabled the host.
    pub uid: String,
    /// Whether the host was out of service before, by somebody else.
    pub disabled_before: bool,
    /// Why. What Nova holds may be the beginning only.
    pub reason: String,
    /// The reason with which somebody else kept it out of service before. What Nova holds may be the beginning only.
    pub earlier: Option<String>,
}

impl Mark {
    /// The text for Nova, 1 to 255 characters, on one line.
    #[must_use]
    pub fn text(&self) -> String {
        let before = if self.disabled_before { "disabled" } else { "enabled" };
        let head = format!("{PREFIX}{} before={before}:", self.uid);
        let room = REASON_MAX_CHARS.saturating_sub(head.chars().count());
        let earlier = self.earlier.as_ref().filter(|_| self.disabled_before);
        let tail = earlier.map(|earlier| format!("{WAS}{}{END}", beginning(earlier, room.saturating_sub(WAS.len() + END.len_utf8())))).unwrap_or_default();
        // What a sensor wrote must not be taken for somebody's earlier reason.
        let reason = format!(" {}", self.reason.replace(WAS, " (was: "));
        let reason = beginning(&reason, room.saturating_sub(tail.chars().count()));
        let plain: String = format!("{head}{}{tail}", reason.trim_end()).chars().map(storable).collect();
        plain.trim_end().to_owned()
    }

    /// Reads a mark back. `None` for any text that is not one, such as an operator's own reason.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let (uid, rest) = text.strip_prefix(PREFIX)?.split_once(" before=")?;
        let (before, reason) = rest.split_once(':')?;
        let disabled_before = match before {
            "enabled" => false,
            "disabled" => true,
            _ => return None,
        };
        let plausible = !uid.is_empty() && uid.chars().all(|c| c.is_ascii_alphanumeric() || c == '-');
        let was = reason.strip_suffix(END).filter(|_| disabled_before).and_then(|reason| reason.split_once(WAS));
        let (reason, earlier) = was.map_or((reason, None), |(reason, earlier)| (reason, Some(earlier.to_owned())));
        plausible.then(|| Self { uid: uid.to_owned(), disabled_before, reason: reason.trim().to_owned(), earlier })
    }

    /// The mark on a service. `None` when the host is in service, whatever its reason says, or when somebody else disabled it.
    #[must_use]
    pub fn on(service: &ComputeService) -> Option<Self> {
        match service.status {
            ServiceStatus::Disabled => Self::parse(service.disabled_reason.as_deref()?),
            ServiceStatus::Enabled => None,
        }
    }
}

/// The first so many characters.
fn beginning(text: &str, chars: usize) -> String {
    text.chars().take(chars).collect()
}

/// A character as Nova can store it.
fn storable(c: char) -> char {
    match c {
        _ if c.is_control() => ' ',
        _ if c > '\u{ffff}' => '\u{fffd}',
        _ => c,
    }
}

/// How people left a host, before any quarantine touched it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Before {
    /// Whether it was out of service.
    pub disabled: bool,
    /// The reason that stood there. Absent when there was none; never an empty text, which Nova does not take back.
    pub reason: Option<String>,
}

/// How people left this host. Where it carries the mark of an earlier quarantine, the mark says so; `earlier_reason` is then what that earlier object wrote down in its status as the reason
/// before it, in full (`None` where that object is gone).
#[must_use]
pub fn found(service: &ComputeService, earlier_reason: Option<&str>) -> Before {
    let (disabled, reason) = match Mark::on(service) {
        Some(mark) => (mark.disabled_before, earlier_reason.map(str::to_owned).or(mark.earlier)),
        None => (service.status == ServiceStatus::Disabled, service.disabled_reason.clone()),
    };
    Before { disabled, reason: reason.filter(|text| disabled && !text.is_empty()) }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::{HostName, ServiceId, ServiceState};
    use super::*;

    const UID: &str = "0b6f8a4e-5c1d-4c0e-9a3f-6c1f1d2e3a4b";

    fn mark(reason: &str) -> Mark {
        Mark { uid: UID.to_owned(), disabled_before: false, reason: reason.to_owned(), earlier: None }
    }

    fn service(status: ServiceStatus, reason: Option<&str>) -> ComputeService {
        ComputeService {
            id: ServiceId("s".into()),
            host: HostName::from("cmp-1"),
            status,
            state: ServiceState::Up,
            disabled_reason: reason.map(str::to_owned),
            forced_down: false,
            zone: None,
        }
    }

    #[test]
    fn novas_reason_reads_as_documented_and_is_read_back() {
        let mark = mark("suricata 1:2024897 from 10.0.4.7");
        assert_eq!(mark.text(), format!("sidestep/{UID} before=enabled: suricata 1:2024897 from 10.0.4.7"));
        assert_eq!(Mark::parse(&mark.text()), Some(mark));
    }

    #[test]
    fn the_state_before_is_read_back() {
        let mark = Mark { disabled_before: true, ..mark("x") };
        assert_eq!(Mark::parse(&mark.text()), Some(mark));
    }

    #[test]
    fn an_earlier_reason_is_read_back_from_the_mark_alone() {
        for earlier in ["disk swap", "x [was: y]", "]", "AUTO: Connection to libvirt lost: 1", "trailing "] {
            let mark = Mark { disabled_before: true, earlier: Some(earlier.to_owned()), ..mark("suricata 1:5") };
            assert_eq!(mark.text(), format!("sidestep/{UID} before=disabled: suricata 1:5 [was: {earlier}]"));
            assert_eq!(Mark::parse(&mark.text()), Some(mark.clone()));
            assert_eq!(found(&service(ServiceStatus::Disabled, Some(&mark.text())), None).reason.as_deref(), Some(earlier));
        }
        let long = Mark { disabled_before: true, earlier: Some("e".repeat(255)), ..mark(&"r".repeat(255)) };
        assert_eq!(long.text().chars().count(), REASON_MAX_CHARS);
        assert!(Mark::parse(&long.text()).unwrap().earlier.unwrap().chars().all(|c| c == 'e'));
    }

    #[test]
    fn what_a_sensor_wrote_is_nobodys_earlier_reason() {
        let forged = Mark { disabled_before: true, ..mark("x [was: AUTO: y]") };
        assert_eq!(Mark::parse(&forged.text()).unwrap().earlier, None);
    }

    #[test]
    fn novas_reason_is_cut_between_characters_where_it_is_long() {
        let text = mark(&"ä".repeat(300)).text();
        assert_eq!(text.chars().count(), REASON_MAX_CHARS);
        assert!(Mark::parse(&text).unwrap().reason.chars().all(|c| c == 'ä'));
    }

    #[test]
    fn novas_reason_a_newline_and_an_emoji_cannot_break_the_request() {
        assert!(mark("line\nbreak 🦀").text().ends_with(": line break \u{fffd}"));
    }

    #[test]
    fn an_empty_reason_leaves_no_blank_at_the_end() {
        let text = mark("").text();
        assert!(text.ends_with("before=enabled:"));
        assert_eq!(Mark::parse(&text), Some(mark("")));
    }

    #[test]
    fn other_reasons_are_no_marks() {
        for text in [
            "",
            "AUTO: Connection to libvirt lost: 1",
            "sidestep",
            "sidestep/ before=enabled: x",
            "sidestep/a b before=enabled: x",
            "sidestep/u before=on: x",
            "maintenance sidestep/u before=enabled: x",
        ] {
            assert_eq!(Mark::parse(text), None, "{text}");
        }
    }

    #[test]
    fn a_mark_on_a_host_in_service_does_not_count() {
        let text = mark("x").text();
        assert!(Mark::on(&service(ServiceStatus::Disabled, Some(&text))).is_some());
        assert!(Mark::on(&service(ServiceStatus::Enabled, Some(&text))).is_none());
    }

    #[test]
    fn what_people_left_is_found_as_it_stands_where_there_is_no_mark() {
        let in_service = found(&service(ServiceStatus::Enabled, None), Some("ignored"));
        assert_eq!(in_service, Before { disabled: false, reason: None });
        let disabled = found(&service(ServiceStatus::Disabled, Some("disk")), None);
        assert_eq!(disabled, Before { disabled: true, reason: Some("disk".into()) });
        let silent = found(&service(ServiceStatus::Disabled, Some("")), None);
        assert_eq!(silent, Before { disabled: true, reason: None });
    }

    #[test]
    fn novas_reason_a_later_quarantine_carries_over_what_was_there_before_the_first() {
        let enabled_before = mark("first").text();
        assert_eq!(found(&service(ServiceStatus::Disabled, Some(&enabled_before)), None), Before { disabled: false, reason: None });
        let disabled_before = Mark { disabled_before: true, ..mark("first") }.text();
        let service = service(ServiceStatus::Disabled, Some(&disabled_before));
        assert_eq!(found(&service, Some("disk")), Before { disabled: true, reason: Some("disk".into()) });
        assert_eq!(found(&service, None), Before { disabled: true, reason: None });
    }

    proptest! {
        #[test]
        fn every_mark_fits_into_nova_and_is_recognised(reason in any::<String>(), disabled_before in any::<bool>(), earlier in any::<Option<String>>()) {
            let text = Mark { uid: UID.to_owned(), disabled_before, reason, earlier: earlier.clone() }.text();
            prop_assert!((1..=REASON_MAX_CHARS).contains(&text.chars().count()));
            prop_assert!(!text.starts_with("AUTO:") && !text.chars().any(char::is_control));
            let back = Mark::parse(&text).unwrap();
            prop_assert_eq!((back.uid.as_str(), back.disabled_before), (UID, disabled_before));
            prop_assert_eq!(back.earlier.is_some(), disabled_before && earlier.is_some());
        }

        #[test]
        fn no_text_makes_the_parser_panic(text in any::<String>()) {
            let _ = Mark::parse(&text);
        }
    }
}
