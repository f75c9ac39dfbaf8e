//! `amazon-ssm-agent -register` and its siblings, with the agent's flags, prompts, files and exit codes.
//!
//! As the real one it saves an empty registration before it calls Systems Manager, to see that it may write:
//! a registration that was there is lost when the call then fails, and the readable copy of it goes stale.

use std::io::{BufRead as _, Read as _, Write as _};
use std::net::TcpStream;
use std::time::{Duration, UNIX_EPOCH};

use base64::Engine as _;
use serde_json::{Value, json};

use super::{AGENT_VERSION, Files, Setting, hang};
use crate::clock;

#[derive(Debug, Default, PartialEq)]
struct Flags {
    /// The flags without a value, such as `register`.
    on: Vec<String>,
    code: String,
    id: String,
    region: String,
}

impl Flags {
    fn is(&self, name: &str) -> bool {
        self.on.iter().any(|on| on == name)
    }
}

pub(crate) fn run(machine: &Files, setting: &Setting, arguments: &[String]) -> u8 {
    let flags = match parse(arguments) {
        Ok(flags) => flags,
        Err(problem) => {
            eprintln!("{problem}");
            usage();
            return 2;
        }
    };
    if flags.is("version") {
        println!("SSM Agent version: {AGENT_VERSION}");
        return 0;
    }
    if !flags.is("register") {
        if flags.is("fingerprint") {
            log(machine, "INFO", "Fingerprint SimilarityThreshold set");
            return 0;
        }
        if arguments.is_empty() {
            eprintln!("the stand-in does not run as a service");
        } else {
            usage();
        }
        return 1;
    }
    register(machine, setting, &flags)
}

fn register(machine: &Files, setting: &Setting, flags: &Flags) -> u8 {
    if flags.code.is_empty() || flags.id.is_empty() || flags.region.is_empty() {
        if flags.is("clear") {
            return clear(machine);
        }
        usage();
        return 1;
    }
    let known = machine.registration(Files::VAULT).is_some_and(|known| !known.instance_id.is_empty());
    if known && !flags.is("y") {
        match confirmed() {
            Ok(true) => {}
            Ok(false) => {
                log(machine, "INFO", "Registration canceled by user");
                return 1;
            }
            Err(problem) => {
                log(machine, "ERROR", &format!("Registration failed due to {problem}"));
                return 1;
            }
        }
    }
    let fault = machine.fault(
        "amazon-ssm-agent",
        &["fail", "fail-after-write", "hang", "garbage", "no-id", "throttled", "unknown", "full"],
    );
    if fault.as_deref() == Some("full") || machine.save("", "").is_err() {
        let text =
            "Registration failed due to Unable to save registration information. \nTry running as sudo/administrator.";
        log(machine, "ERROR", text);
        return 1;
    }
    let failed = |cause: &str| {
        let text = format!("Registration failed due to error registering the instance with AWS SSM. {cause}");
        log(machine, "ERROR", &text);
        1
    };
    match fault.as_deref() {
        Some("hang") => {
            hang();
            return 1;
        }
        Some("garbage") => {
            println!("\u{fffd}\u{fffd} segmentation fault (core dumped)");
            return 0;
        }
        Some("throttled") => return failed("ThrottlingException: Rate exceeded\n\tstatus code: 400, request id: "),
        Some("unknown") => return failed("SomethingNewException: of a later year"),
        Some("fail") => return failed("RequestError: send request failed\ncaused by: dial tcp: i/o timeout"),
        _ => {}
    }
    let endpoint = setting.endpoint.clone().or_else(|| machine.endpoint());
    let id = match call(setting, endpoint.as_deref(), flags) {
        Ok(id) => id,
        Err(cause) => return failed(&cause),
    };
    let saved = machine.save(&id, &flags.region).and_then(|()| machine.save_readable(&id, &flags.region));
    if saved.and_then(|()| machine.save_fingerprint()).is_err() {
        log(machine, "ERROR", "Registration failed due to error persisting the instance registration information.");
        return 1;
    }
    let _ = std::fs::remove_file(machine.own("other-hardware"));
    share_credentials(machine);
    match fault.as_deref() {
        Some("fail-after-write") => 1,
        Some("no-id") => 0,
        _ => {
            let text = format!("Successfully registered the instance with AWS SSM using Managed instance-id: {id}");
            log(machine, "INFO", &text);
            0
        }
    }
}

fn clear(machine: &Files) -> u8 {
    if machine.save("", "").is_err() {
        log(
            machine,
            "ERROR",
            "error clearing the instance registration information. \nTry running as sudo/administrator.",
        );
        return 1;
    }
    // The fingerprint stays.
    let _ = std::fs::remove_file(machine.path(Files::REGISTRATION));
    log(machine, "INFO", "Registration information has been removed from the instance.");
    0
}

/// An agent of a managed node writes the credentials of its role, which is central IT's, into root's default
/// profile. Here they are good for nothing, so a program that takes them fails.
fn share_credentials(machine: &Files) {
    let text = "[default]\naws_access_key_id = ASIACENTRALNODEROLE0\naws_secret_access_key = central\naws_session_token = central\n";
    let _ = Files::write(&machine.path("root/.aws/credentials"), text);
}

/// The node id that Systems Manager gives, or its refusal as the agent words it.
fn call(setting: &Setting, endpoint: Option<&str>, flags: &Flags) -> Result<String, String> {
    let body = json!({
        "ActivationCode": flags.code,
        "ActivationId": flags.id,
        "Fingerprint": uuid::Uuid::new_v4().to_string(),
        "PublicKey": public_key(),
        "PublicKeyType": "Rsa",
    });
    let unreachable = |error: &dyn std::fmt::Display| format!("RequestError: send request failed\ncaused by: {error}");
    let authority = endpoint
        .and_then(|url| url.strip_prefix("http://"))
        .ok_or("neither AWS_ENDPOINT_URL nor the machine names AWS")?;
    let authority = authority.trim_end_matches('/');
    let proxy = setting.proxy.as_deref().map(|proxy| {
        let host = proxy.trim_start_matches("http://").trim_end_matches('/');
        // A name and a password would go into a header.
        host.rsplit_once('@').map_or(host, |(_, host)| host)
    });
    let (status, answer) =
        post(authority, proxy, &flags.region, &body.to_string()).map_err(|error| unreachable(&error))?;
    let answer: Value = serde_json::from_str(&answer).map_err(|error| unreachable(&error))?;
    if let Some(id) = answer["InstanceId"].as_str().filter(|_| status == 200) {
        return Ok(id.to_owned());
    }
    let text = |name: &str| answer[name].as_str().unwrap_or_default();
    Err(format!("{}: {}\n\tstatus code: {status}, request id: ", text("__type"), text("message")))
}

/// Nobody signs this call; its Region is in the name of the host.
fn post(authority: &str, proxy: Option<&str>, region: &str, body: &str) -> std::io::Result<(u16, String)> {
    let mut stream = TcpStream::connect(proxy.unwrap_or(authority))?;
    // A proxy gets the whole address.
    let target = proxy.map_or("/".to_owned(), |_| format!("http://{authority}/"));
    stream.set_read_timeout(Some(Duration::from_secs(30)))?;
    write!(
        stream,
        "POST {target} HTTP/1.1\r\nHost: ssm.{region}.amazonaws.com\r\nConnection: close\r\n\
         Content-Type: application/x-amz-json-1.1\r\nX-Amz-Target: AmazonSSM.RegisterManagedInstance\r\n\
         Content-Length: {}\r\n\r\n{body}",
        body.len()
    )?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    let status = answer.split_ascii_whitespace().nth(1).and_then(|status| status.parse().ok()).unwrap_or_default();
    Ok((status, answer.split_once("\r\n\r\n").map_or_else(String::new, |(_, body)| body.to_owned())))
}

/// As long as a key of 2048 bits; another one each time.
fn public_key() -> String {
    let bytes: Vec<u8> = (0..19).flat_map(|_| uuid::Uuid::new_v4().into_bytes()).take(294).collect();
    base64::engine::general_purpose::STANDARD.encode(bytes)
}

fn confirmed() -> Result<bool, String> {
    print!(
        "\nInstance already registered. Would you like to override existing with new registration information? [Yes/No]: "
    );
    let _ = std::io::stdout().flush();
    let mut line = String::new();
    std::io::stdin().lock().read_line(&mut line).map_err(|error| error.to_string())?;
    match line.trim().chars().next().map(|first| first.to_ascii_lowercase()) {
        Some('y') => Ok(true),
        Some('n') => Ok(false),
        Some(_) => Err("Invalid response received.".to_owned()),
        None if line.is_empty() => Err("EOF".to_owned()),
        None => Err("unexpected newline".to_owned()),
    }
}

fn log(machine: &Files, level: &str, text: &str) {
    let line = format!("{} {level} {text}", timestamp());
    println!("{line}");
    machine.log(level, text);
}

/// `2026-11-22 02:00:00`, in UTC.
pub(super) fn timestamp() -> String {
    let seconds = clock::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
    let (day, second) = (seconds / 86_400, seconds % 86_400);
    let (year, month, date) = civil(day);
    format!("{year:04}-{month:02}-{date:02} {:02}:{:02}:{:02}", second / 3600, second / 60 % 60, second % 60)
}

/// The date of a day since 1970, by eras of 400 years that begin in March.
fn civil(day: u64) -> (u64, u64, u64) {
    let day = day + 719_468;
    let (era, of_era) = (day / 146_097, day % 146_097);
    let year = (of_era - of_era / 1460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year + year / 4 - year / 100);
    let from_march = (5 * of_year + 2) / 153;
    let month = if from_march < 10 { from_march + 3 } else { from_march - 9 };
    (era * 400 + year + u64::from(month <= 2), month, of_year - (153 * from_march + 2) / 5 + 1)
}

/// `-flag value`, `-flag=value` and with two dashes, as Go takes them.
fn parse(arguments: &[String]) -> Result<Flags, String> {
    let mut flags = Flags::default();
    let mut rest = arguments.iter();
    while let Some(argument) = rest.next() {
        let Some(name) = argument.strip_prefix("--").or_else(|| argument.strip_prefix('-')) else { break };
        let (name, value) = name.split_once('=').map_or((name, None), |(name, value)| (name, Some(value.to_owned())));
        let on = value.as_deref() != Some("false");
        let mut text = || {
            let value = value.clone().or_else(|| rest.next().cloned());
            value.ok_or_else(|| format!("flag needs an argument: -{name}"))
        };
        match name {
            "register" | "clear" | "y" | "version" | "fingerprint" | "disableSimilarityCheck" => {
                flags.on.extend(on.then(|| name.to_owned()));
            }
            "code" => flags.code = text()?,
            "id" => flags.id = text()?,
            "region" => flags.region = text()?,
            "similarityThreshold" => drop(text()?),
            _ => return Err(format!("flag provided but not defined: -{name}")),
        }
    }
    Ok(flags)
}

fn usage() {
    eprintln!("\n\nCommand-line Usage:\n\t-register -id ID -code CODE -region REGION [-y] [-disableSimilarityCheck]");
    eprintln!("\t-register -clear\n\t-fingerprint -similarityThreshold N\n\t-version");
}

#[cfg(test)]
mod tests {
    use super::*;

    fn flags(line: &str) -> Result<Flags, String> {
        parse(&line.split(' ').map(str::to_owned).collect::<Vec<_>>())
    }

    #[test]
    fn flags_as_go_takes_them() {
        let expected = Flags {
            on: ["register", "y", "disableSimilarityCheck"].map(str::to_owned).to_vec(),
            code: "c+/".to_owned(),
            id: "i".to_owned(),
            region: "r".to_owned(),
        };
        assert_eq!(flags("-register -y -code c+/ -id=i --region r -disableSimilarityCheck").unwrap(), expected);
        assert_eq!(flags("-colour red").unwrap_err(), "flag provided but not defined: -colour");
        assert_eq!(flags("-register -code").unwrap_err(), "flag needs an argument: -code");
    }

    #[test]
    fn dates() {
        assert_eq!(civil(0), (1970, 1, 1));
        assert_eq!(civil(11_016), (2000, 2, 29));
        assert_eq!(civil(20_779), (2026, 11, 22));
        assert_eq!(public_key().len(), 392);
    }
}
