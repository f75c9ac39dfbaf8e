//! The script for Windows, which no Windows runs here: it is parsed, and its tables and the order of its steps are
//! compared with those of the program. That is a port of the cases and not a run of the script.

use std::collections::BTreeSet;

use register_instance::Reason;

const SCRIPT: &str = include_str!("../../windows/register-instance.ps1");

/// The body of a function of the script, up to the brace that closes it.
fn function(name: &str) -> &'static str {
    let start = SCRIPT.find(&format!("function {name}")).unwrap_or_else(|| panic!("there is no {name}"));
    let body = &SCRIPT[start..];
    body.split_once("\n}\n").map_or(body, |(body, _)| body)
}

/// These words, in this order.
fn in_order(text: &str, words: &[&str]) {
    let mut rest = text;
    for word in words {
        let at = rest.find(word).unwrap_or_else(|| panic!("no {word:?} in its place in:\n{text}"));
        rest = &rest[at + word.len()..];
    }
}

#[test]
fn every_exit_code_is_one_of_the_program_and_told_in_the_help() {
    let codes: BTreeSet<String> = Reason::all().map(|reason| reason.exit_code().to_string()).collect();
    let (help, _) = SCRIPT.split_once("#>").unwrap();
    let numbers = |text: &str, before: &str| -> BTreeSet<String> {
        text.match_indices(before)
            .map(|(at, _)| text[at + before.len()..].chars().take_while(char::is_ascii_digit).collect::<String>())
            .filter(|number| !number.is_empty())
            .collect()
    };
    let used: BTreeSet<String> = numbers(SCRIPT, "Fail ").union(&numbers(SCRIPT, "{ return ")).cloned().collect();
    assert!(used.len() > 10, "{used:?}");
    for code in used.iter().filter(|code| *code != "0") {
        assert!(codes.contains(code), "{code} is not an exit code of the program");
        assert!(help.contains(&format!("{code} ")), "{code} is not in the help");
    }
}

#[test]
fn refusals_are_those_of_the_program() {
    let refusal = function("Get-Refusal");
    for (words, code) in [
        ("ActivationExpired", 7),
        ("RegistrationLimitExceeded", 8),
        ("InvalidActivation", 9),
        ("Instance already registered", 10),
        ("InstanceAlreadyRegistered", 10),
        ("Unable to save registration information", 10),
        ("InvalidPublicKey", 10),
        ("ValidationException", 10),
    ] {
        let line = refusal.lines().find(|line| line.contains(words)).unwrap_or_else(|| panic!("no {words}"));
        assert!(line.contains(&format!("{{ return {code} }}")), "{line}");
    }
    // Everything else may pass.
    for words in ["Throttl", "RequestError", "i/o timeout", "503"] {
        assert!(!refusal.contains(words), "{words}");
    }
    assert!(refusal.trim_end().ends_with("return 0"));
}

#[test]
fn both_vaults_are_looked_at_and_the_present_one_first() {
    in_order(SCRIPT, &["$Vaults =", r"InstanceData\Vault\Store\RegistrationKey", r"Vault\Store\RegistrationKey"]);
    in_order(function("Get-Kept"), &["foreach ($vault in $Vaults)", "Cleared", "Unreadable", "'Node'", "'None'"]);
}

#[test]
fn the_steps_have_the_order_of_the_program() {
    in_order(
        function("Invoke-Run"),
        &[
            "Get-Identity",
            "Get-Registration",
            "Fail 12",
            "Fail 18",
            "Confirm-InUse $node $hub",
            "Write-Tag",
            "Get-Activation",
            "Register-Patiently",
            "Write-Marker",
            "Confirm-InUse $node $activation.Region",
            "Write-Tag",
        ],
    );
    in_order(function("Register-Node"), &["Stop-Service", "Invoke-Registration", "finally", "Start-Agent"]);
    in_order(
        function("Confirm-InUse"),
        &["Get-LoggedRefusal", "Get-AgentAnswer", "'Running'", "$answer.Region", "Fail 17"],
    );
    assert_eq!(SCRIPT.matches("Write-Tag $identity $node").count(), 2, "no tag without a question to the agent");
}

#[test]
fn administrators_alone_and_no_program_of_the_environment() {
    assert!(!SCRIPT.contains("$env:ProgramData") && !SCRIPT.contains("$env:ProgramFiles"));
    in_order(
        function("Write-Marker"),
        &["SetAccessRuleProtection($true, $false)", "S-1-5-32-544", "S-1-5-18", "Set-Acl"],
    );
    assert!(!SCRIPT.contains("-register -y") && SCRIPT.contains("StandardInput.Close()"));
}

#[test]
fn braces_and_quotes_are_in_pairs() {
    let (mut depth, mut quote) = (Vec::new(), None);
    let code = SCRIPT.split_once("#>").unwrap().1;
    for line in code.lines() {
        let mut characters = line.chars().peekable();
        while let Some(c) = characters.next() {
            match (c, quote) {
                ('#', None) => break,
                ('`', Some('"') | None) => drop(characters.next()),
                (c, Some(end)) if c == end => quote = None,
                ('"' | '\'', None) => quote = Some(c),
                ('{' | '(' | '[', None) => depth.push(c),
                ('}' | ')' | ']', None) => {
                    let open = match c {
                        '}' => '{',
                        ')' => '(',
                        _ => '[',
                    };
                    assert_eq!(depth.pop(), Some(open), "{line}");
                }
                _ => {}
            }
        }
        assert_eq!(quote, None, "a quote is open: {line}");
    }
    assert!(depth.is_empty(), "{depth:?}");
}
