//! Parts of documents that tests make, between two comments. `UPDATE_DOCS=1` writes them anew, instead of comparing.

use crate::repository::text;
use crate::template::repository;

const END: &str = "<!-- End of what is made. -->";

/// Compares the made part of a document with what it should be, which may depend on the rest of the document.
pub(crate) fn check(file: &str, made_from: &str, expected: impl FnOnce(&str) -> String) {
    let begin = format!("<!-- Made from {made_from} by the tidy tests: UPDATE_DOCS=1 writes it anew. -->\n");
    let page = text(file).unwrap();
    let (before, rest) = page.split_once(&begin).unwrap_or_else(|| panic!("{file} has no line {begin}"));
    let (written, after) = rest.split_once(END).unwrap_or_else(|| panic!("{file} has no line {END}"));
    let expected = expected(&page);
    if is_update() {
        std::fs::write(repository().join(file), format!("{before}{begin}{expected}{END}{after}")).unwrap();
        return;
    }
    assert!(written == expected, "{file} is not what {made_from} say; UPDATE_DOCS=1 writes it:\n{expected}");
}

#[expect(clippy::disallowed_methods, reason = "the one way to tell a test to write instead of compare")]
fn is_update() -> bool {
    std::env::var("UPDATE_DOCS").is_ok_and(|value| value == "1")
}
