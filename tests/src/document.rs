//! Documents whose commands are run by a test.
//!
//! What is behind the language of a fenced block is its mark:
//!
//! - `sh central`: it runs in the session of that name. Several names: in each of them.
//! - `sh not-run reason="…"`: nothing here can run it, for that reason.
//! - `output`, right after a block that runs: each line is found in what that block printed, in this order. `…` stands
//!   for any text within a line.
//!
//! Every block of shell has to be marked, so that none is passed over in silence; one for `powershell`, which nothing
//! here can run, says why. Other languages are left alone.

use std::fmt;

/// A block of shell.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Block {
    /// The line of the document on which its first command is; the first line is 1.
    pub line: usize,
    /// What it says.
    pub text: String,
    /// What becomes of it.
    pub how: How,
}

/// What becomes of a block.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum How {
    /// It runs in each of these sessions.
    Run {
        /// At least one.
        sessions: Vec<String>,
        /// What it has to print.
        output: Vec<Expected>,
    },
    /// It is not run.
    NotRun {
        /// Why.
        reason: String,
    },
}

/// A line that has to be printed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Expected {
    /// Where the document says so.
    pub line: usize,
    /// The text, with `…` for any.
    pub pattern: String,
}

/// What is wrong with a document, and on which line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// The first line is 1.
    pub line: usize,
    /// In words.
    pub what: String,
}

impl fmt::Display for Problem {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "line {}: {}", self.line, self.what)
    }
}

impl std::error::Error for Problem {}

/// The blocks of shell of a document, in its order.
///
/// # Errors
/// Where a mark is none of the above, or a block has no end.
pub fn blocks(document: &str) -> Result<Vec<Block>, Problem> {
    let mut blocks: Vec<Block> = Vec::new();
    for fence in fences(document)? {
        let problem = |what: String| Problem { line: fence.line, what };
        let (language, mark) = fence.info.split_once(' ').unwrap_or((fence.info, ""));
        match language {
            "sh" => {
                let how = how(mark).map_err(problem)?;
                blocks.push(Block { line: fence.line + 1, text: fence.text(), how });
            }
            "powershell" => {
                let how = how(mark).map_err(problem)?;
                if !matches!(how, How::NotRun { .. }) {
                    return Err(problem("nothing here runs powershell: not-run, with its reason".to_owned()));
                }
                blocks.push(Block { line: fence.line + 1, text: fence.text(), how });
            }
            "output" => match blocks.last_mut() {
                Some(Block { how: How::Run { output, .. }, .. }) if output.is_empty() => *output = fence.expected(),
                _ => return Err(problem("output belongs to one block that runs, and follows it".to_owned())),
            },
            "bash" | "shell" | "console" => return Err(problem(format!("{language:?}: blocks of shell are sh"))),
            _ => {}
        }
    }
    Ok(blocks)
}

/// Which of the expected lines was not printed, where there is one.
pub fn missing<'a>(expected: &'a [Expected], printed: &str) -> Option<&'a Expected> {
    let mut lines = printed.lines();
    expected.iter().find(|expected| !lines.any(|line| is_match(&expected.pattern, line.trim())))
}

fn how(mark: &str) -> Result<How, String> {
    let mark = mark.trim();
    if let Some(rest) = mark.strip_prefix("not-run") {
        let reason = rest.trim().strip_prefix("reason=\"").and_then(|reason| reason.strip_suffix('"'));
        return match reason {
            Some(reason) if !reason.trim().is_empty() => Ok(How::NotRun { reason: reason.to_owned() }),
            _ => Err("not-run needs its reason=\"…\"".to_owned()),
        };
    }
    let sessions: Vec<String> = mark.split_whitespace().map(str::to_owned).collect();
    let is_name = |name: &String| name.chars().all(|letter| letter.is_ascii_alphanumeric() || letter == '-');
    if sessions.is_empty() {
        return Err("a block of shell says in which session it runs, or not-run reason=\"…\"".to_owned());
    }
    match sessions.iter().find(|name| !is_name(name)) {
        Some(name) => Err(format!("{name:?} is no name of a session")),
        None => Ok(How::Run { sessions, output: Vec::new() }),
    }
}

/// A fenced block of whatever language.
struct Fence<'a> {
    /// The line of the fence itself.
    line: usize,
    info: &'a str,
    lines: Vec<&'a str>,
}

impl Fence<'_> {
    fn text(&self) -> String {
        self.lines.iter().flat_map(|line| [line, "\n"]).collect()
    }

    fn expected(&self) -> Vec<Expected> {
        let lines = (self.line + 1..).zip(&self.lines).filter(|(_, line)| !line.trim().is_empty());
        lines.map(|(line, text)| Expected { line, pattern: text.trim().to_owned() }).collect()
    }
}

fn fences(document: &str) -> Result<Vec<Fence<'_>>, Problem> {
    let mut fences = Vec::new();
    let mut open: Option<(usize, Fence<'_>)> = None;
    for (line, text) in (1..).zip(document.lines()) {
        let trimmed = text.trim_start();
        let ticks = trimmed.len() - trimmed.trim_start_matches('`').len();
        match &mut open {
            None if ticks >= 3 => {
                open = Some((ticks, Fence { line, info: trimmed[ticks..].trim(), lines: Vec::new() }));
            }
            None => {}
            // A longer fence may hold a shorter one.
            Some((opening, _)) if ticks >= *opening && trimmed[ticks..].trim().is_empty() => {
                fences.extend(open.take().map(|(_, fence)| fence));
            }
            Some((_, fence)) => fence.lines.push(text),
        }
    }
    match open {
        None => Ok(fences),
        Some((_, fence)) => Err(Problem { line: fence.line, what: "this block has no end".to_owned() }),
    }
}

/// Whether a line holds the pattern's pieces, one after the other.
fn is_match(pattern: &str, line: &str) -> bool {
    let mut rest = line;
    pattern.split('…').all(|piece| match rest.find(piece.trim()) {
        Some(at) => {
            rest = &rest[at + piece.trim().len()..];
            true
        }
        None => false,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(sessions: &[&str], output: &[(usize, &str)]) -> How {
        let expected = |(line, pattern): &(usize, &str)| Expected { line: *line, pattern: (*pattern).to_owned() };
        let sessions = sessions.iter().map(|name| (*name).to_owned()).collect();
        How::Run { sessions, output: output.iter().map(expected).collect() }
    }

    #[test]
    fn blocks_are_found_with_their_lines_and_marks() {
        let document = "# T\n```sh central\na\nb\n```\n\n```output\nx … y\n\nz\n```\n```json\n{}\n```\n\
                        1. Do:\n```sh central agency-2\nc\n```\n```sh not-run reason=\"no such thing here\"\nd\n```\n";
        let expected = [
            (3, "a\nb\n", run(&["central"], &[(8, "x … y"), (10, "z")])),
            (17, "c\n", run(&["central", "agency-2"], &[])),
            (20, "d\n", How::NotRun { reason: "no such thing here".to_owned() }),
        ];
        let expected = expected.map(|(line, text, how)| Block { line, text: text.to_owned(), how });
        assert_eq!(blocks(document).unwrap(), expected);
    }

    #[test]
    fn what_is_not_marked_or_not_ended_is_refused() {
        for (document, line, what) in [
            ("\n```sh\na\n```\n", 2, "in which session"),
            ("```sh not-run\na\n```\n", 1, "reason"),
            ("```sh not-run reason=\"\"\na\n```\n", 1, "reason"),
            ("```sh as=central\na\n```\n", 1, "as=central"),
            ("```bash\na\n```\n", 1, "are sh"),
            ("```output\na\n```\n", 1, "follows it"),
            ("```sh not-run reason=\"x\"\na\n```\n```output\na\n```\n", 4, "follows it"),
            ("```powershell\na\n```\n", 1, "in which session"),
            ("```powershell central\na\n```\n", 1, "nothing here runs"),
            ("```sh central\na\n", 1, "no end"),
        ] {
            let problem = blocks(document).unwrap_err();
            assert_eq!(problem.line, line, "{document:?}: {problem}");
            assert!(problem.what.contains(what), "{document:?}: {problem}");
        }
    }

    #[test]
    fn a_longer_fence_holds_shorter_ones() {
        let document = "````md\n```sh\na\n```\n````\n";
        assert_eq!(blocks(document).unwrap(), []);
    }

    #[test]
    fn output_is_found_in_order_with_gaps() {
        let expected = |patterns: &[&str]| -> Vec<Expected> {
            patterns.iter().map(|pattern| Expected { line: 1, pattern: (*pattern).to_owned() }).collect()
        };
        let printed = "first\n  \"counts\": {\"updated\": 1}\nlast\n";
        for (patterns, absent) in [
            (&["first", "last"][..], None),
            (&["\"updated\": 1"], None),
            (&["counts…updated"], None),
            (&["updated … counts"], Some("updated … counts")),
            (&["last", "first"], Some("first")),
            (&["first", "first"], Some("first")),
            (&[], None),
        ] {
            let expected = expected(patterns);
            let found = missing(&expected, printed).map(|expected| expected.pattern.as_str());
            assert_eq!(found, absent, "{patterns:?}");
        }
    }
}
