//! The forms of the API's strings, from the service's own model.

use unicode_properties::{GeneralCategoryGroup, UnicodeGeneralCategory as _};

use crate::config::is_partition;

/// `^[a-zA-Z0-9_\-.:/]{3,128}$`, and where it is an ARN, one of a document.
pub(super) fn is_document_name(text: &str) -> bool {
    let is_text =
        (3..=128).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_alphanumeric() || b"_-.:/".contains(&b));
    is_text && (!text.starts_with("arn:") || is_document_arn(text))
}

/// `arn:PARTITION:ssm:REGION:ACCOUNT:document/NAME`; AWS's own documents have no account.
fn is_document_arn(text: &str) -> bool {
    let parts: Vec<&str> = text.splitn(6, ':').collect();
    let ["arn", partition, "ssm", region, account, resource] = parts.as_slice() else {
        return false;
    };
    let name = resource.strip_prefix("document/").or_else(|| resource.strip_prefix("automation-definition/"));
    is_partition(partition)
        && region.parse::<hub::Region>().is_ok()
        && (account.is_empty() || account.parse::<hub::AccountId>().is_ok())
        && name.is_some_and(|name| !name.is_empty())
}

/// `$LATEST`, `$DEFAULT` or a number from 1.
pub(super) fn is_document_version(text: &str) -> bool {
    matches!(text, "$LATEST" | "$DEFAULT")
        || (text.bytes().all(|b| b.is_ascii_digit()) && !text.is_empty() && !text.starts_with('0'))
}

/// An account id, an organizational unit or a root. The guide's own examples have units that are shorter
/// than the pattern of the Organizations API, so that only the form is checked.
pub(super) fn is_account_or_unit(text: &str) -> bool {
    text.parse::<hub::AccountId>().is_ok()
        || text
            .strip_prefix("ou-")
            .and_then(|rest| rest.split_once('-'))
            .is_some_and(|(root, unit)| is_lower_word(root) && is_lower_word(unit))
        || text.strip_prefix("r-").is_some_and(is_lower_word)
}

/// `^((ou-[a-z0-9]{4,32}-[a-z0-9]{8,32})|(\d{12}))$`: what a location may leave out.
pub(super) fn is_excludable(text: &str) -> bool {
    let is_between = |word: &str, min: usize, max: usize| is_lower_word(word) && (min..=max).contains(&word.len());
    text.parse::<hub::AccountId>().is_ok()
        || text
            .strip_prefix("ou-")
            .and_then(|rest| rest.split_once('-'))
            .is_some_and(|(root, unit)| is_between(root, 4, 32) && is_between(unit, 8, 32))
}

/// A text that the service completes, such as `arn:aws:iam::{{global:ACCOUNT_ID}}:role/X`.
pub(super) fn is_template(text: &str) -> bool {
    text.split_once("{{").is_some_and(|(_, rest)| rest.contains("}}")) && is_length(text, 1, 512)
}

fn is_lower_word(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit())
}

/// `[\w+=,.@/-]{1,64}`: a name, not an ARN.
pub(super) fn is_role_name(text: &str) -> bool {
    (1..=64).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_alphanumeric() || b"_+=,.@/-".contains(&b))
}

/// `[0-9a-fA-F]{8}-…`, 36 characters, in lower case: the service takes either case for the same.
pub(super) fn token(text: &str) -> Option<String> {
    (text.len() == 36 && uuid::Uuid::try_parse(text).is_ok()).then(|| text.to_ascii_lowercase())
}

/// 36 characters. The service asks for no more, and AWS's examples end in `EXAMPLE`. Ids are UUIDs in lower case.
pub(super) fn execution_id(text: &str) -> Option<String> {
    let is_id = text.len() == 36 && text.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-');
    is_id.then(|| token(text).unwrap_or_else(|| text.to_owned()))
}

/// Characters that no category tells from letters and marks, and that nobody sees: fillers and joiners.
const UNSEEN: [char; 8] =
    ['\u{034f}', '\u{115f}', '\u{1160}', '\u{17b4}', '\u{17b5}', '\u{2800}', '\u{3164}', '\u{ffa0}'];

/// Characters that Unicode's composed form (NFC) has others for, which look the same: accents and parts of letters that it puts
/// together, and old names of letters. Marks of scripts that have no composed letters are not among them.
fn is_decomposed(c: char) -> bool {
    matches!(c,
        '\u{300}'..='\u{36f}' | '\u{653}'..='\u{655}' | '\u{1100}'..='\u{11ff}' | '\u{3099}' | '\u{309a}'
        | '\u{374}' | '\u{37e}' | '\u{387}' | '\u{958}'..='\u{95f}' | '\u{2126}' | '\u{212a}' | '\u{212b}' | '\u{2329}'
        | '\u{232a}' | '\u{f900}'..='\u{faff}' | '\u{fb1d}' | '\u{fb1f}' | '\u{fb2a}'..='\u{fb4e}' | '\u{2f800}'..='\u{2fa1f}'
        | '\u{1f71}' | '\u{1f73}' | '\u{1f75}' | '\u{1f77}' | '\u{1f79}' | '\u{1f7b}' | '\u{1f7d}' | '\u{1fbb}' | '\u{1fbe}'
        | '\u{1fc9}' | '\u{1fcb}' | '\u{1fd3}' | '\u{1fdb}' | '\u{1fe3}' | '\u{1feb}' | '\u{1fee}' | '\u{1fef}' | '\u{1ff9}'
        | '\u{1ffb}' | '\u{1ffd}'
    )
}

/// True for a text that reads as what it is: every character is seen and in composed form, spaces are plain, and none is at
/// the ends.
pub(super) fn is_plain(text: &str) -> bool {
    let is_seen = |c: char| {
        let is_variation = matches!(c, '\u{180b}'..='\u{180f}' | '\u{fe00}'..='\u{fe0f}' | '\u{e0100}'..='\u{e01ef}');
        let group = c.general_category_group();
        c == ' '
            || !(is_variation
                || is_decomposed(c)
                || UNSEEN.contains(&c)
                || matches!(group, GeneralCategoryGroup::Separator | GeneralCategoryGroup::Other))
    };
    text.trim() == text && text.chars().all(is_seen)
}

/// Up to 255 characters, not all of them white space.
pub(super) fn is_alarm_name(text: &str) -> bool {
    is_length(text, 1, 255) && !text.trim().is_empty()
}

/// True where the text has that many characters.
pub(super) fn is_length(text: &str, min: usize, max: usize) -> bool {
    (min..=max).contains(&text.chars().count())
}

/// `[\p{L}\p{Z}\p{N}_.:/=+\-@]*` of at most `max` characters.
pub(super) fn is_tag_text(text: &str, max: usize) -> bool {
    is_length(text, 0, max) && text.chars().all(|c| c == '+' || is_target_char(c))
}

/// The key of a target takes what a tag takes, but no `+`.
pub(super) fn is_target_key(text: &str) -> bool {
    is_length(text, 1, 163) && text.chars().all(is_target_char)
}

fn is_target_char(c: char) -> bool {
    matches!(c, '_' | '.' | ':' | '/' | '=' | '-' | '@')
        || matches!(
            c.general_category_group(),
            GeneralCategoryGroup::Letter | GeneralCategoryGroup::Separator | GeneralCategoryGroup::Number
        )
}

/// `https://BUCKET.s3[.REGION].amazonaws.com/…`.
pub(super) fn is_locations_url(text: &str) -> bool {
    let Some((host, path)) = text.strip_prefix("https://").and_then(|rest| rest.split_once('/')) else {
        return false;
    };
    let Some(host) = host.strip_suffix(".amazonaws.com") else {
        return false;
    };
    let bucket = host.strip_suffix(".s3").or_else(|| {
        let (bucket, region) = host.rsplit_once(".s3.")?;
        let is_region = (9..=16).contains(&region.len())
            && region.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-');
        is_region.then_some(bucket)
    });
    let is_bucket_byte = |b: u8| b.is_ascii_alphanumeric() || b"-@:%._+~#=".contains(&b);
    !path.is_empty()
        && !path.contains(char::is_whitespace)
        && bucket.is_some_and(|bucket| (1..=253).contains(&bucket.len()) && bucket.bytes().all(is_bucket_byte))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(is_valid: fn(&str) -> bool, good: &[&str], bad: &[&str]) {
        for text in good {
            assert!(is_valid(text), "{text:?} was refused");
        }
        for text in bad {
            assert!(!is_valid(text), "{text:?} was accepted");
        }
    }

    #[test]
    fn documents() {
        check(
            is_document_name,
            &[
                "AWS-RestartEC2Instance",
                "my.runbook_2",
                "arn:aws:ssm:us-east-1:111111111111:document/Patch",
                "arn:aws-us-gov:ssm:us-gov-west-1::document/AWS-RunPatchBaseline",
                "arn:aws:ssm:us-east-1:111111111111:automation-definition/Patch:1",
            ],
            &[
                "",
                "ab",
                "a b c",
                "arn:aws:ssm:us-east-1:1111:document/Patch",
                "arn:aws:ssm::111111111111:document/Patch",
                "arn:aws:ssm:us-east-1:111111111111:document/",
                "arn:aws:s3:::bucket",
                "arn:gcp:ssm:us-east-1:111111111111:document/Patch",
            ],
        );
        check(is_document_version, &["$LATEST", "$DEFAULT", "1", "42"], &["", "0", "01", "latest", "$latest", "1.2"]);
    }

    #[test]
    fn accounts_units_and_roots() {
        check(
            is_account_or_unit,
            &["123456789012", "ou-1a2b3c-4d5e6c", "ou-ab12-cdefghij", "r-ab12"],
            &[
                "",
                "12345678901",
                "1234567890123",
                "ou-",
                "ou-ab12",
                "ou-ab12-",
                "ou-AB12-cd",
                "r-",
                "o-ab12",
                "ou-a-b-c",
            ],
        );
    }

    #[test]
    fn names_and_ids() {
        check(
            is_role_name,
            &["AWS-SystemsManager-AutomationExecutionRole", "ops/automation+x=1,2.3@4_5"],
            &["", "arn:aws:iam::111111111111:role/R", "a b", &"x".repeat(65)],
        );
        check(
            |text| token(text).is_some(),
            &["4f7ca192-7e9a-40fe-9192-5cb15abcdef0"],
            &["", "4f7ca192", "4f7ca192-7e9a-40fe-9192-5cb15EXAMPLE"],
        );
        for (read, text, expected) in [
            (
                token as fn(&str) -> Option<String>,
                "4F7CA192-7E9A-40FE-9192-5CB15ABCDEF0",
                "4f7ca192-7e9a-40fe-9192-5cb15abcdef0",
            ),
            (execution_id, "4F7CA192-7e9a-40FE-9192-5cb15abcdef0", "4f7ca192-7e9a-40fe-9192-5cb15abcdef0"),
            (execution_id, "4f7ca192-7e9a-40fe-9192-5cb15EXAMPLE", "4f7ca192-7e9a-40fe-9192-5cb15EXAMPLE"),
        ] {
            assert_eq!(read(text).as_deref(), Some(expected));
        }
        check(
            is_plain,
            &[
                "patch-2026-11",
                "Straße 7",
                "automation-fanout 2026-11-22T02:00:00Z",
                "caf\u{e9}",
                "가",
                "हिन्दी",
                "ไทย",
                "வா",
            ],
            &[
                // Each of these looks like another text.
                "cafe\u{301}",
                "\u{1100}\u{1161}",
                "\u{212b}",
                "\u{30ab}\u{3099}",
                "\u{1f71}",
                "\u{f900}",
                " a",
                "a ",
                "a\u{a0}",
                "a\u{200b}b",
                "a\u{feff}",
                "a\tb",
                "a\u{2028}b",
                "a\u{3164}",
                "a\u{fe0f}",
                "a\u{a0}b",
            ],
        );
        check(
            |text| execution_id(text).is_some(),
            &["4f7ca192-7e9a-40fe-9192-5cb15EXAMPLE", "4f7ca192-7e9a-40fe-9192-5cb15abcdef0"],
            &["", "4f7ca192-7e9a-40fe-9192", "4f7ca192-7e9a-40fe-9192-5cb15 xample"],
        );
        check(is_alarm_name, &["stop"], &["", "   ", &"x".repeat(256)]);
    }

    #[test]
    fn keys() {
        check(
            is_target_key,
            &["tag:Env", "tag:Straße 7", "ResourceGroup", "AWS::EC2::Instance"],
            &["", "tag:a+b", "tag:a#b"],
        );
        check(|text| is_tag_text(text, 128), &["", "a+b", "Straße"], &["a#b", &"x".repeat(129)]);
    }

    #[test]
    fn presigned_urls() {
        check(
            is_locations_url,
            &[
                "https://bucket.s3.amazonaws.com/locations.json?X-Amz-Signature=x",
                "https://my.bucket.s3.us-east-1.amazonaws.com/a/b.json",
            ],
            &[
                "",
                "http://bucket.s3.amazonaws.com/x",
                "https://bucket.s3.amazonaws.com/",
                "https://.s3.amazonaws.com/x",
                "https://example.com/x",
                "https://bucket.s3.amazonaws.com.example.com/x",
                "https://s3.amazonaws.com/x",
            ],
        );
    }
}
