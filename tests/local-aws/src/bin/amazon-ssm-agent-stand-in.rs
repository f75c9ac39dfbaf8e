//! Stands in for `amazon-ssm-agent`, `ssm-cli`, `systemctl` and `initctl`, by the name that it is called with.
#![expect(clippy::disallowed_methods, reason = "a program of its own, and this is its main")]

use std::process::ExitCode;

use local_aws::stand_in::{Setting, run};

fn main() -> ExitCode {
    let setting = Setting {
        root: std::env::var_os("SSM_AGENT_ROOT").map(Into::into),
        proxy: ["HTTP_PROXY", "http_proxy"]
            .iter()
            .find_map(|name| std::env::var(name).ok())
            .filter(|url| !url.is_empty()),
        endpoint: std::env::var_os("AWS_ENDPOINT_URL").and_then(|url| url.into_string().ok()),
    };
    let arguments = std::env::args_os().map(|argument| argument.to_string_lossy().into_owned()).collect();
    ExitCode::from(run(arguments, &setting))
}
