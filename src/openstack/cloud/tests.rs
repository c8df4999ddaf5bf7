//! Logging in, renewing, repeating, and what counts as an answer.

use std::num::NonZeroU32;
use std::time::Duration;

use jiff::Timestamp;
use serde_json::json;

use super::super::testing::{Canned, Reply, usual};
use super::*;
use crate::openstack::clouds_yaml::Trust;

const TOKENS: &str = "/identity/v3/auth/tokens";

async fn get(cloud: &Cloud) -> Result<Answer, Fault> {
    cloud.get(cloud.nova(), "read a thing", &["thing"], &[]).await
}

async fn connect(canned: &Canned) -> Result<Cloud, ConnectError> {
    Cloud::connect(&canned.config(), Clock::system()).await
}

fn thing(reply: impl Fn(usize) -> Reply + Send + Sync + 'static) -> impl Fn(&super::super::testing::Asked, usize) -> Reply + Send + Sync + 'static {
    move |asked, before| if asked.path.ends_with("/thing") { reply(before) } else { usual() }
}

#[tokio::test]
async fn a_cloud_says_who_it_is_and_what_it_speaks() {
    let canned = Canned::start(thing(|_| Reply::ok(json!({})))).await;
    let cloud = canned.cloud().await;
    assert_eq!(cloud.identity(), &Identity { user: "u".into(), project: "admin".into(), region: "r1".into() });
    assert_eq!(cloud.microversion().to_string(), "2.96");
    get(&cloud).await.unwrap();
    let asked = &canned.asked()[0];
    assert_eq!((asked.token.as_deref(), asked.version.as_deref()), (Some("token-0"), Some("compute 2.96")));
}

#[tokio::test]
async fn an_older_nova_is_refused_with_the_version_it_offers() {
    let canned = Canned::start(|asked, _| match asked.path.as_str() {
        "/nova/v2.1/" => Reply::ok(json!({"version": {"version": "2.79", "min_version": "2.1"}})),
        _ => usual(),
    })
    .await;
    let error = connect(&canned).await.unwrap_err();
    assert_eq!(error.to_string(), "needs Nova microversion 2.84 or newer; this endpoint offers up to 2.79");
    assert_eq!(error.category(), "MicroversionTooOld");
}

#[tokio::test]
async fn a_wrong_password_is_named_as_such() {
    let canned = Canned::start(|asked, _| match asked.path.as_str() {
        TOKENS => Reply::Json(401, json!({"error": {"code": 401, "message": "The request you have made requires authentication."}})),
        _ => usual(),
    })
    .await;
    let error = connect(&canned).await.unwrap_err();
    assert_eq!(error.category(), "AuthenticationFailed");
    assert!(error.to_string().starts_with("Keystone at http://"), "{error}");
}

#[tokio::test]
async fn a_keystone_that_is_not_there_is_unreachable() {
    let canned = Canned::start(|_, _| usual()).await;
    let config = canned.config();
    drop(canned);
    let error = Cloud::connect(&config, Clock::system()).await.unwrap_err();
    assert_eq!(error.category(), "Unreachable");
}

#[tokio::test]
async fn a_bundle_that_is_not_there_or_holds_nothing_is_an_error_of_its_own() {
    let canned = Canned::start(|_, _| usual()).await;
    for (trust, category) in [(Trust::File("/nonexistent/ca.pem".into()), "CACertNotFound"), (Trust::Pem(b"no certificate".to_vec()), "CACertInvalid")] {
        let config = CloudConfig { trust, ..canned.config() };
        assert_eq!(Cloud::connect(&config, Clock::system()).await.unwrap_err().category(), category);
    }
}

#[tokio::test]
async fn a_token_is_renewed_before_it_ends() {
    let canned = Canned::start(thing(|_| Reply::ok(json!({})))).await;
    let clock = Clock::manual(Timestamp::UNIX_EPOCH);
    let cloud = canned.cloud_at(clock.clone()).await;
    get(&cloud).await.unwrap();
    clock.advance(Duration::from_secs(3_600 - 60));
    get(&cloud).await.unwrap();
    assert_eq!(canned.lines(), ["GET /nova/v2.1/thing", "POST /identity/v3/auth/tokens", "GET /nova/v2.1/thing"]);
}

#[tokio::test]
async fn while_keystone_is_away_a_token_is_used_to_its_end() {
    let canned = Canned::start(|asked, before| match asked.path.as_str() {
        TOKENS if asked.token.is_none() && before == 0 => usual(),
        TOKENS => Reply::Json(503, json!({})),
        _ => Reply::ok(json!({"version": {"version": "2.96"}})),
    })
    .await;
    let clock = Clock::manual(Timestamp::UNIX_EPOCH);
    let cloud = Cloud::connect(&canned.config(), clock.clone()).await.unwrap();
    clock.advance(Duration::from_secs(3_600 - 60));
    get(&cloud).await.unwrap();
    clock.advance(Duration::from_secs(60));
    assert_eq!(get(&cloud).await.unwrap_err().kind(), FaultKind::Server);
}

#[tokio::test]
async fn a_refused_token_is_replaced_once_and_the_call_repeated() {
    let canned = Canned::start(|asked, _| match asked.token.as_deref() {
        Some("token-0") if asked.path.ends_with("/thing") => Reply::Json(401, json!({"error": {"message": "expired"}})),
        _ if asked.path.ends_with("/thing") => Reply::ok(json!({})),
        _ => usual(),
    })
    .await;
    // The log is not cleared here, so that the second token has another number.
    let cloud = connect(&canned).await.unwrap();
    get(&cloud).await.unwrap();
    let lines = canned.lines();
    assert_eq!(lines[lines.len() - 3..], ["GET /nova/v2.1/thing", "POST /identity/v3/auth/tokens", "GET /nova/v2.1/thing"]);
}

#[tokio::test]
async fn a_refused_credential_is_not_tried_at_every_call() {
    let canned = Canned::start(|asked, before| match asked.path.as_str() {
        TOKENS if before == 0 => usual(),
        TOKENS => Reply::Json(401, json!({"error": {"message": "no"}})),
        _ => usual(),
    })
    .await;
    let clock = Clock::manual(Timestamp::UNIX_EPOCH);
    let cloud = Cloud::connect(&canned.config(), clock.clone()).await.unwrap();
    clock.advance(Duration::from_secs(3_600));
    let logins = || canned.lines().iter().filter(|line| line.contains(TOKENS)).count();
    for _ in 0..5 {
        assert_eq!(get(&cloud).await.unwrap_err().kind(), FaultKind::Unauthorized);
    }
    assert_eq!(logins(), 2);
    clock.advance(Duration::from_secs(15));
    assert_eq!(get(&cloud).await.unwrap_err().kind(), FaultKind::Unauthorized);
    assert_eq!(logins(), 3);
}

#[tokio::test]
async fn a_second_401_is_the_answer() {
    let canned = Canned::start(thing(|_| Reply::Json(401, json!({"error": {"message": "no"}})))).await;
    let cloud = canned.cloud().await;
    assert_eq!(get(&cloud).await.unwrap_err().kind(), FaultKind::Unauthorized);
    assert_eq!(canned.lines().len(), 3);
}

#[tokio::test]
async fn a_lost_connection_and_a_server_error_are_asked_again() {
    let canned = Canned::start(thing(|before| match before {
        0 => Reply::Drop,
        1 => Reply::Json(503, json!({})),
        _ => Reply::ok(json!({})),
    }))
    .await;
    get(&canned.cloud().await).await.unwrap();
    assert_eq!(canned.lines().len(), 3);
}

#[tokio::test]
async fn a_failure_that_stays_is_given_up_after_four_times() {
    let canned = Canned::start(thing(|_| Reply::Json(500, json!({"computeFault": {"code": 500, "message": "Unexpected API Error."}})))).await;
    let fault = get(&canned.cloud().await).await.unwrap_err();
    assert_eq!((fault.kind(), fault.message()), (FaultKind::Server, Some("Unexpected API Error.")));
    assert_eq!(canned.lines().len(), 4);
}

#[tokio::test]
async fn no_answer_in_time_is_a_timeout() {
    let canned = Canned::start(thing(|_| Reply::Hang)).await;
    let config = CloudConfig { request_timeout: Duration::from_millis(200), ..canned.config() };
    let cloud = Cloud::connect(&config, Clock::system()).await.unwrap();
    assert_eq!(get(&cloud).await.unwrap_err().kind(), FaultKind::Timeout);
}

#[tokio::test]
async fn what_is_not_the_services_answer_is_a_failed_list() {
    for reply in [|| Reply::html(200), || Reply::ok(json!({"others": []})), || Reply::ok(json!({"things": {}})), || Reply::ok(json!([])), || Reply::html(404)] {
        let canned = Canned::start(thing(move |_| reply())).await;
        let cloud = canned.cloud().await;
        let fault = cloud.list::<Value>(cloud.nova(), "list things", &["thing"], &[], "things").await.unwrap_err();
        assert_eq!(fault.kind(), FaultKind::Foreign, "{fault}");
    }
}

#[tokio::test]
async fn a_redirect_is_not_followed() {
    let canned = Canned::start(thing(|_| Reply::With(302, vec![("location", "http://127.0.0.1:1/elsewhere".into())], String::new()))).await;
    let fault = get(&canned.cloud().await).await.unwrap_err();
    assert_eq!((fault.kind(), fault.status()), (FaultKind::Foreign, Some(302)));
}

/// Seven rows in pages of three; the links name another scheme, host and port, as behind a proxy that ends TLS.
fn paged(asked: &super::super::testing::Asked, _: usize) -> Reply {
    if !asked.path.ends_with("/thing") {
        return usual();
    }
    let marker: usize = asked.query.split("marker=").nth(1).map_or(0, |marker| marker.parse().unwrap());
    let rows: Vec<usize> = (marker + 1..=7).take(3).collect();
    let mut body = json!({"things": rows});
    if marker + 3 < 7 {
        body["things_links"] = json!([{"rel": "next", "href": format!("https://10.9.9.9:1/elsewhere?limit=3&marker={}", marker + 3)}]);
    }
    Reply::ok(body)
}

#[tokio::test]
async fn only_the_marker_of_a_next_link_is_used() {
    let canned = Canned::start(paged).await;
    let cloud = canned.cloud().await.with_page_size(NonZeroU32::new(3).unwrap());
    let rows: Vec<u64> = cloud.list(cloud.nova(), "list things", &["thing"], &[("host", "h1")], "things").await.unwrap();
    assert_eq!(rows, [1, 2, 3, 4, 5, 6, 7]);
    assert_eq!(
        canned.lines(),
        ["GET /nova/v2.1/thing?host=h1&limit=3", "GET /nova/v2.1/thing?host=h1&limit=3&marker=3", "GET /nova/v2.1/thing?host=h1&limit=3&marker=6"]
    );
}

#[tokio::test]
async fn a_page_that_fails_or_repeats_makes_the_whole_list_fail() {
    for second in [|| Reply::html(200), || Reply::ok(json!({"things": [1], "things_links": [{"rel": "next", "href": "x?marker=1"}]}))] {
        let canned = Canned::start(thing(move |before| match before {
            0 => Reply::ok(json!({"things": [1], "things_links": [{"rel": "next", "href": "x?marker=1"}]})),
            _ => second(),
        }))
        .await;
        let cloud = canned.cloud().await;
        assert!(cloud.list::<Value>(cloud.nova(), "list things", &["thing"], &[], "things").await.is_err());
    }
}
