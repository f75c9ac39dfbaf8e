//! The script for Windows, which nothing runs here: no registry has PowerShell. It is parsed, and its tables and the order
//! of its steps are compared with those of the program. That is a port of the cases and not a run of the script.

use std::collections::BTreeSet;
use std::io::Write as _;
use std::process::{Command, Stdio};

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
        ("AccessDenied", 10),
        ("UnrecognizedClient", 10),
        ("UnsupportedPlatformType", 10),
        ("certificate has expired or is not yet valid", 19),
        ("x509: ", 10),
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
            "Get-Hub $identity",
            "Fail 18",
            "Start-Agent",
            "Confirm-InUse $node $hub.Region",
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
        &[
            "Get-AgentStart",
            "Get-Standing $start",
            "Fail 19",
            "Fail 17",
            "Read-Json $Runtime",
            "$isHalfWritten =",
            "Get-Credentials $runtime $start",
            "$isProven =",
            "$isSettled =",
            "$SettleSeconds",
            "$isOpen = $isSettled",
            "Get-AgentAnswer",
            "$answer.Region",
            "if ($isNode -and $isProven) { return }",
            "if ($isNode -and $isOpen)",
            "nothing here proves",
            "Fail 17",
        ],
    );
    // What came before the start, and what plugins print, does not count; a file that was rotated does.
    in_order(
        function("Get-Standing"),
        &[
            "Get-Entries $Since",
            "$isIdentity = $first -match",
            "Credentials exist and have not expired') { $state = 'NotAsked'",
            "Credentials ready') { $state = if ($isShared) { 'Ready' } else { 'NotShared' }",
            "Set up control channel successfully",
            "if ($state -ne 'Refused') { $state = 'Ready' }",
            "Starting credentials refresher loop') { if ($state -eq 'Ready') { $state = 'NotAsked' }",
            "IIRRoleProvider') { $isOfEc2 = $true }",
            "'Refused'",
            "Retrieve credentials produced|failed to refresh credentials') { $state = 'Unreachable'",
            "returned from AWS API|before retrying retrieve credentials') { if ($state -notin 'Refused', 'Unreachable'",
        ],
    );
    in_order(
        function("Get-Entries"),
        &[
            "AssumeLocal",
            "AdjustToUniversal",
            "Get-LogLines",
            "-match '^(",
            "$Since",
            "ssm-document-worker",
            "elseif ($isOwn)",
        ],
    );
    // The agent's own words count on the first line of an entry alone.
    for words in ["Credentials ready", "Starting Core Agent", "Set up control channel", "Retrieve credentials produced"]
    {
        let standing = function("Get-Standing");
        let lines = standing.lines().filter(|line| line.contains(words));
        assert!(lines.into_iter().all(|line| line.contains("$first -match '")), "{words}");
    }
    // A rotation that was planned is of credentials that may be older than the start.
    assert!(!SCRIPT.contains("Next credential rotation"));
    in_order(function("Get-LogLines"), &["$Logs*", "gz|zip", "LastWriteTime", "-LiteralPath $Logs -Tail"]);
    // Times are compared in UTC: the log has local ones, and the notes of the agent have a zone.
    in_order(
        function("Get-AgentStart"),
        &["'Running'", "return $null", "Win32_Service", "StartTime.ToUniversalTime()"],
    );
    in_order(function("Get-Time"), &["[datetime]) { return $time.ToUniversalTime() }", "[datetimeoffset]::Parse"]);
    in_order(
        function("Get-Credentials"),
        &["'Unknown'", "$expires -le [datetime]::UtcNow", "'Expired'", "$retrieved -gt $Since", "'Fresh'", "'Old'"],
    );
    assert!(!SCRIPT.contains("Get-Date"), "a local time among those of UTC");
    // A registration that nothing says is the hub's is not tagged.
    in_order(function("Get-Hub"), &["Read-Activation", "Fail 9", "'hubRegion'", "'hubAccount'", "Fail $code"]);
    // The agent registers with the environment of its service.
    in_order(
        function("Invoke-Registration"),
        &["EnvironmentVariables.Clear()", "Get-ServiceEnvironment", "::Start($start)", "$Deadline", "WaitForExit"],
    );
    in_order(function("Get-ServiceEnvironment"), &["'Machine'", "CurrentControlSet"]);
    assert_eq!(SCRIPT.matches("Write-Tag $identity $node").count(), 2, "no tag without a question to the agent");
}

#[test]
fn administrators_alone_and_no_program_of_the_environment() {
    assert!(!SCRIPT.contains("$env:ProgramData") && !SCRIPT.contains("$env:ProgramFiles"));
    in_order(
        function("Protect-Folder"),
        &[
            "New-Item -ItemType Directory",
            "ReparsePoint",
            "Fail 1",
            "$owner -notin $Owners",
            "Fail 1",
            "SetOwner",
            "SetAccessRuleProtection($true, $false)",
            "foreach ($sid in $Owners)",
            "Set-Acl",
            "Get-ChildItem",
            "Fail 1",
        ],
    );
    assert!(SCRIPT.contains("$Owners = 'S-1-5-32-544', 'S-1-5-18'"), "administrators and the system");
    // Both files are in that folder, and nothing is written before it is theirs.
    for file in ["$Marker", "$LockFile"] {
        assert!(SCRIPT.contains(&format!("{file} = Join-Path $Folder ")), "{file}");
    }
    in_order(function("Enter-Lock"), &["[System.IO.File]::Open($LockFile", "'None'", "Fail 14"]);
    let end = SCRIPT.split_once("$lock = $null").unwrap().1;
    in_order(
        end,
        &["IsInRole", "Fail 3", "if (-not $DryRun)", "Protect-Folder", "Enter-Lock", "Invoke-Run", "$lock.Dispose()"],
    );
    assert!(!SCRIPT.contains("System.Threading.Mutex"), "everybody may hold a mutex of that name");
    // No account is claimed for a node that was registered by other means.
    in_order(
        function("Invoke-Run"),
        &["if (-not $isMarked) { Write-Marker $identity $node $hub.Region '' }", "nothing here says"],
    );
    in_order(function("Write-Marker"), &["WriteAllText(\"$Marker.new\"", "Move-Item", "$Marker -Force"]);
    assert!(!SCRIPT.contains("-register -y") && SCRIPT.contains("StandardInput.Close()"));
}

/// The grammar is that of an editor and not PowerShell's own: it finds what is no script, and not what would fail.
#[test]
#[expect(clippy::disallowed_methods, reason = "it is the environment that says where the tools are")]
fn it_is_a_script() {
    const PARSE: &str = "import sys, tree_sitter, tree_sitter_powershell as language\n\
        parser = tree_sitter.Parser(tree_sitter.Language(language.language()))\n\
        print(parser.parse(sys.stdin.buffer.read()).root_node.has_error)";
    let python = std::env::var("LOCAL_AWS_PYTHON")
        .unwrap_or_else(|_| concat!(env!("CARGO_MANIFEST_DIR"), "/../../.venv/bin/python").to_owned());
    for (script, has_error) in [(SCRIPT.to_owned(), "False\n"), (SCRIPT.replacen("{ return", "{{ return", 1), "True\n")]
    {
        let mut command = Command::new(&python);
        command.args(["-c", PARSE]).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut parser = command.spawn().unwrap();
        parser.stdin.take().unwrap().write_all(script.as_bytes()).unwrap();
        let output = parser.wait_with_output().unwrap();
        assert_eq!(String::from_utf8_lossy(&output.stdout), has_error, "{output:?}");
    }
}
