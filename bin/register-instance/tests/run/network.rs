//! A metadata service that is none, redirects, proxies, and profiles that name other endpoints.

use std::fs;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;

use crate::built::{Answer, FIRST_NODE, Request, Server, Site, aws, fifo, metadata, says};

const DOCUMENT: &str = "GET /latest/dynamic/instance-identity/document ";

/// A metadata service that works, but for the document.
fn with_document(answer: impl Fn() -> Answer + Send + Sync + 'static) -> Site {
    Site::with(move |request| if request.line.starts_with(DOCUMENT) { answer() } else { metadata(request) }, aws)
}

#[test]
fn a_metadata_service_that_answers_nonsense_makes_nobody_a_node() {
    for text in [
        "<html><body>Please log in</body></html>",
        "",
        "[]",
        "null",
        r#"{"accountId":"222222222222","region":"us-west-2","inst"#,
        r#"{"accountId":"222222222222","region":"us-west-2","instanceId":"i-0123/../../x"}"#,
        r#"{"accountId":222222222222,"region":"us-west-2","instanceId":"i-0123456789abcdef0"}"#,
        r#"{"accountId":"222222222222","region":"evil.example.com/","instanceId":"i-0123456789abcdef0"}"#,
    ] {
        let site = with_document(move || says(text));
        let ran = site.run(&[]);
        ran.is(4, "not-ec2");
        assert!(site.calls().iter().all(|call| !call.contains("stop") && !call.contains("register")), "{text}");
        assert!(site.aws.lines().is_empty() && site.tag().is_none(), "{text}");
    }
    let huge = with_document(|| says("x".repeat(8_000_000)));
    let ran = huge.run(&[]);
    ran.is(4, "not-ec2");
    assert!(ran.said.len() < 10_000, "it is not repeated");
    // A portal answers everything alike.
    let portal = Site::with(|_| says("<html>"), aws);
    portal.run(&["--timeout", "2m"]).is(4, "not-ec2");
    // Credentials that are none.
    let role = Site::with(
        |request| if request.line.contains("security-credentials") { says("<html>") } else { metadata(request) },
        aws,
    );
    role.run(&[]).is(6, "credentials");
    assert!(role.aws.lines().is_empty());
}

#[test]
fn a_metadata_service_that_is_late_with_the_credentials_is_waited_for() {
    let (asked, late) = (AtomicUsize::new(0), 6);
    let site = Site::with(
        move |request: &Request| {
            let is_about_role = request.line.contains("/iam/security-credentials");
            if is_about_role && asked.fetch_add(1, Ordering::SeqCst) < late {
                return (503, vec![], String::new());
            }
            metadata(request)
        },
        aws,
    );
    site.run(&["--timeout", "60s"]).is(0, "registered");
    // An instance without a profile is told at once.
    let bare = Site::with(
        |request| if request.line.contains("/iam/") { (404, vec![], String::new()) } else { metadata(request) },
        aws,
    );
    bare.run(&[]).is(6, "TagHubInstance");
}

#[test]
fn a_redirect_of_the_metadata_service_is_not_followed() {
    let enemy = Server::start(metadata);
    thread::scope(|scope| {
        for path in ["/latest/api/token", "/latest/dynamic", "/latest/meta-data/iam"] {
            for status in [301, 302, 307, 308] {
                let to = enemy.url.clone();
                scope.spawn(move || {
                    let redirected = move |request: &Request| {
                        if !request.line.contains(path) {
                            return metadata(request);
                        }
                        let target = request.line.split(' ').nth(1).unwrap_or_default();
                        (status, vec![("Location", format!("{to}{target}"))], String::new())
                    };
                    let ran = Site::with(redirected, aws).run(&[]);
                    assert!([4, 6, 15].contains(&ran.code), "{status} {path}: {}", ran.said);
                });
            }
        }
    });
    assert!(enemy.lines().is_empty(), "{:?}", enemy.lines());
    // Nor one of AWS.
    let to = enemy.url.clone();
    let site = Site::with(metadata, move |_, _| (307, vec![("Location", to.clone())], String::new()));
    assert!([6, 15].contains(&site.run(&[]).code));
    assert!(enemy.lines().is_empty());
}

#[test]
fn the_files_of_root_s_profile_are_not_read() {
    let enemy = Server::start(metadata);
    let site = Site::new();
    for file in ["config", "credentials"] {
        let text = format!(
            "[default]\nec2_metadata_service_endpoint = {0}\nendpoint_url = {0}\naws_access_key_id = ASIACENTRAL\n\
             aws_secret_access_key = central\nregion = eu-west-1\n",
            enemy.url
        );
        site.write(&format!("root/.aws/{file}"), &text);
    }
    let mut command = site.command(&[]);
    command.env_remove("AWS_EC2_METADATA_SERVICE_ENDPOINT");
    let ran = Site::run_command(command);
    assert!([4, 15].contains(&ran.code) && enemy.lines().is_empty(), "{:?} {}", enemy.lines(), ran.said);
    site.run(&[]).is(0, "registered");
    assert!(enemy.lines().is_empty());
    // Nor where that would never end.
    for file in ["config", "credentials"] {
        fs::remove_file(site.at(&format!("root/.aws/{file}"))).unwrap();
        fifo(&site.at(&format!("root/.aws/{file}")));
    }
    site.run(&[]).is(0, "tag-written");
}

#[test]
fn proxies_in_either_case_and_what_goes_past_them() {
    for (variables, is_proxied) in [
        (&[("HTTP_PROXY", "PROXY")][..], true),
        (&[("http_proxy", "PROXY")], true),
        (&[("HTTP_PROXY", "PROXY"), ("http_proxy", "http://127.0.0.1:9")], true),
        (&[("HTTP_PROXY", ""), ("http_proxy", "PROXY")], true),
        (&[("HTTPS_PROXY", "PROXY"), ("ALL_PROXY", "PROXY")], false),
        (&[("HTTP_PROXY", "http://127.0.0.1:9"), ("NO_PROXY", "127.0.0.1")], false),
        (&[("HTTP_PROXY", "http://127.0.0.1:9"), ("no_proxy", "10.0.0.0/8, 127.0.0.0/8")], false),
        (&[("http_proxy", "http://127.0.0.1:9"), ("NO_PROXY", "*")], false),
        (&[("HTTP_PROXY", "PROXY"), ("NO_PROXY", "example.com,.internal")], true),
    ] {
        for is_of_the_unit in [false, true] {
            let site = Site::new();
            let tag = Arc::new(Mutex::new(None));
            let kept = Arc::clone(&tag);
            let proxy = Server::start(move |request| aws(&kept, request));
            let variables = variables.iter().map(|(name, value)| (*name, value.replace("PROXY", &proxy.url)));
            let mut command = site.command(&[]);
            if is_of_the_unit {
                let lines: Vec<String> =
                    variables.map(|(name, value)| format!("Environment=\"{name}={value}\"\n")).collect();
                site.write(
                    "etc/systemd/system/amazon-ssm-agent.service.d/p.conf",
                    &format!("[Service]\n{}", lines.concat()),
                );
            } else {
                command.envs(variables);
            }
            let context = format!("{is_of_the_unit} {:?}", proxy.lines());
            let ran = Site::run_command(command);
            ran.is(0, "registered");
            let found = if is_proxied { tag.lock().unwrap().clone() } else { site.tag() };
            assert_eq!(found.as_deref(), Some(FIRST_NODE), "{context} {}", ran.said);
            assert_eq!(proxy.lines().is_empty(), !is_proxied, "{context}");
            assert!(proxy.lines().iter().all(|line| !line.contains("/latest/")), "the metadata service: {context}");
        }
    }
}
