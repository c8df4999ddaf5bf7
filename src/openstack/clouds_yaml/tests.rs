//! What people write into clouds.yaml, and what Sidestep makes of it.

use proptest::prelude::*;
use secrecy::ExposeSecret;

use super::*;

const PASSWORD: &str = r#"
clouds:
  production:
    auth:
      auth_url: https://keystone.example:5000
      username: sidestep
      password: "s3cret"
      project_name: admin
      user_domain_name: Default
    region_name: RegionOne
    interface: internalURL
    api_timeout: 20
"#;

fn with_auth_line(line: &str) -> String {
    PASSWORD.replace("      project_name: admin\n", &format!("      project_name: admin\n      {line}\n"))
}

fn with_line(line: &str) -> String {
    PASSWORD.replace("    region_name: RegionOne\n", &format!("    region_name: RegionOne\n    {line}\n"))
}

fn read(text: &str) -> Result<CloudConfig, CloudsYamlError> {
    parse(text.as_bytes(), "production", None)
}

#[test]
fn a_password_entry_is_read() {
    let config = read(PASSWORD).unwrap();
    assert_eq!(config.auth_url.as_str(), "https://keystone.example:5000/v3");
    assert_eq!(config.region.as_deref(), Some("RegionOne"));
    assert_eq!(config.interface, Interface::Internal);
    assert_eq!(config.trust, Trust::System);
    assert_eq!(config.request_timeout, Duration::from_secs(20));
    assert_eq!(config.notices, Vec::<String>::new());
    let Credentials::Password { user, password, project } = config.credentials else { panic!("not a password") };
    assert_eq!(user, Principal::Named { name: "sidestep".into(), domain: Domain::Name("Default".into()) });
    assert_eq!(project, Principal::Named { name: "admin".into(), domain: Domain::Id("default".into()) });
    assert_eq!(password.expose_secret(), "s3cret");
}

#[test]
fn an_application_credential_with_a_project_works_and_the_project_is_named() {
    let text = "clouds: {production: {auth_type: v3applicationcredential, region_name: r, auth: {auth_url: 'https://k/v3/', application_credential_id: abc, \
                application_credential_secret: s, project_name: admin}}}";
    let config = read(text).unwrap();
    assert_eq!(config.auth_url.path(), "/v3");
    assert!(matches!(config.credentials, Credentials::ApplicationCredential { credential: ApplicationCredential::Id(ref id), .. } if id == "abc"));
    assert_eq!(config.notices, ["`auth.project_name` is not honoured: an application credential carries its own project"]);
}

#[test]
fn verify_under_auth_is_named_and_certificates_are_still_checked() {
    let config = read(&with_auth_line("verify: false")).unwrap();
    assert_eq!(config.trust, Trust::System);
    assert!(config.notices[0].starts_with("`auth.verify` is not honoured: certificates are checked"), "{:?}", config.notices);
}

#[test]
fn certificates_are_never_left_unchecked_silently() {
    let config = read(&with_line("verify: false")).unwrap();
    assert_eq!(config.trust, Trust::Anything);
    assert!(config.notices[0].contains("not checked"), "{:?}", config.notices);
}

#[test]
fn a_bundle_of_the_secret_wins_over_a_path() {
    let text = with_line("cacert: /home/author/ca.pem");
    assert_eq!(read(&text).unwrap().trust, Trust::File("/home/author/ca.pem".into()));
    assert_eq!(parse(text.as_bytes(), "production", Some(b"PEM")).unwrap().trust, Trust::Pem(b"PEM".to_vec()));
}

#[test]
fn regions_with_values_are_refused_by_name() {
    let error = read(&with_line("regions: [{name: a, values: {auth: {auth_url: 'https://a'}}}, {name: b}]")).unwrap_err();
    assert!(error.to_string().contains("`regions` of cloud `production`"), "{error}");
    let config = read(&with_line("regions: [a, b]")).unwrap();
    assert_eq!(config.notices, ["`regions` is not honoured"]);
}

#[test]
fn an_unknown_cloud_lists_those_that_exist() {
    let error = parse(b"clouds: {a: {}, b: {}}", "c", None).unwrap_err();
    assert_eq!(error.to_string(), "clouds.yaml has no cloud `c`; it has `a`, `b`: set credentials.cloud to one of them");
    assert_eq!(error.category(), "CloudUnknown");
}

#[test]
fn a_key_that_is_missing_is_named_with_its_old_name() {
    let error = read(&PASSWORD.replace("project_name", "tenant_name")).unwrap_err();
    assert_eq!(error.to_string(), "cloud `production` of clouds.yaml has no `auth.project_name`: add it (not honoured there: `auth.tenant_name`)");
}

#[test]
fn a_number_where_text_is_needed_must_be_quoted() {
    let error = read(&PASSWORD.replace("\"s3cret\"", "0123")).unwrap_err();
    assert_eq!(error.to_string(), "`auth.password` of cloud `production` in clouds.yaml must be text: put the value in quotes");
}

#[test]
fn a_broken_file_is_located_and_never_quoted() {
    let error = read("clouds:\n  production:\n    auth: {password: hunter2, \"\n").unwrap_err();
    let text = format!("{error} {error:?}");
    assert!(text.contains("line "), "{text}");
    assert!(!text.contains("hunter2"), "{text}");
    assert_eq!(parse(b"clouds:\n  \xff", "x", None).unwrap_err(), CloudsYamlError::NotYaml { line: 2, column: 3 });
}

#[test]
fn secrets_do_not_show_in_debug_output() {
    assert!(!format!("{:?}", read(PASSWORD).unwrap()).contains("s3cret"));
}

#[test]
fn what_cannot_be_honoured_and_matters_is_refused() {
    for line in [
        "compute_endpoint_override: 'https://nova.example'",
        "profile: vexxhost",
        "identity_api_version: 2",
        "auth_type: v3oidcpassword",
        "verify: /etc/ca.pem",
    ] {
        let error = read(&with_line(line)).unwrap_err().to_string();
        assert!(error.contains(line.split(':').next().unwrap()), "{line}: {error}");
    }
    for (good, bad, key) in [("api_timeout: 20", "api_timeout: 0", "api_timeout"), ("internalURL", "private", "interface")] {
        assert!(read(&PASSWORD.replace(good, bad)).unwrap_err().to_string().contains(key), "{bad}");
    }
    for url in ["ftp://k", "https://u:p@k", "k:5000", "https://k/v2.0", "https://k?x=1"] {
        assert!(read(&PASSWORD.replace("https://keystone.example:5000", url)).unwrap_err().to_string().contains("auth.auth_url"), "{url}");
    }
}

proptest! {
    #[test]
    fn no_bytes_panic(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
        let _ = parse(&bytes, "production", None);
    }

    #[test]
    fn no_edit_of_a_good_file_panics(at in 0..PASSWORD.len(), byte in any::<u8>()) {
        let mut bytes = PASSWORD.as_bytes().to_vec();
        bytes[at] = byte;
        let _ = parse(&bytes, "production", None);
    }
}
