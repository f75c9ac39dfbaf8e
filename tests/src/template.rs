//! A SAM template with its code in S3, as `sam package` leaves it.

/// Points each `CodeUri: .` to the object `<binary>/bootstrap.zip` of a bucket, and names the binaries.
///
/// The text is edited and not parsed, so that everything else reaches CloudFormation as it was written.
pub(crate) fn packaged(template: &str, bucket: &str) -> (String, Vec<String>) {
    let mut binaries = Vec::new();
    let mut text = String::with_capacity(template.len());
    for line in template.lines() {
        if let Some(binary) = line.trim().strip_prefix("Binary: ") {
            binaries.push(binary.to_owned());
        }
        match (line.strip_suffix("CodeUri: ."), binaries.last()) {
            (Some(indent), Some(binary)) => {
                text.push_str(indent);
                text.push_str("CodeUri: { Bucket: ");
                text.extend([bucket, ", Key: ", &key(binary), " }"]);
            }
            _ => text.push_str(line),
        }
        text.push('\n');
    }
    (text, binaries)
}

/// The object key of a function's package.
pub(crate) fn key(binary: &str) -> String {
    format!("{binary}/bootstrap.zip")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_function_gets_its_own_package() {
        let template = "  A:\n    Metadata:\n      Binary: a\n    CodeUri: .\n  B:\n      Binary: b\n    CodeUri: .\n";
        let (text, binaries) = packaged(template, "code");
        assert_eq!(binaries, ["a", "b"]);
        assert!(text.contains("    CodeUri: { Bucket: code, Key: a/bootstrap.zip }\n"), "{text}");
        assert!(text.contains("    CodeUri: { Bucket: code, Key: b/bootstrap.zip }\n"), "{text}");
    }
}
