//! What each stream of output can show.

use clap::ValueEnum;
use unicode_width::UnicodeWidthChar;

/// Below this width a row becomes a block.
pub const NARROW: usize = 60;
/// The width of a terminal that does not tell its own.
const USUAL_WIDTH: usize = 80;
const USUAL_HEIGHT: usize = 24;

/// Whether to use color.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Color {
    /// On a terminal, unless NO_COLOR is set or TERM is dumb
    Auto,
    /// Also where the output is not a terminal
    Always,
    /// Not at all
    Never,
}

/// How something is to be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Tone {
    /// As everything else.
    Plain,
    /// What to read.
    Strong,
    /// Context.
    Faint,
}

/// How something stands: a symbol, with a color beside it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sign {
    /// Fine.
    Good,
    /// Look at it.
    Look,
    /// Broken: act.
    Bad,
    /// Under way.
    Running,
    /// Not begun.
    Waiting,
}

/// A stream of output.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[expect(clippy::struct_excessive_bools, reason = "each is what a terminal can or cannot do")]
pub struct Stream {
    /// Whether somebody looks at it.
    pub is_terminal: bool,
    /// True for a terminal that can draw a line again in its place.
    pub redraws: bool,
    /// Characters in a line.
    pub width: usize,
    /// Lines.
    pub height: usize,
    /// Whether it shows colors.
    pub color: bool,
    /// Whether it shows more than ASCII.
    pub utf8: bool,
}

impl Stream {
    /// What a stream can show: `size` is that of the terminal, which it is if there is one; `lookup` reads the
    /// environment.
    pub fn new(size: Option<(usize, usize)>, color: Color, lookup: impl Fn(&str) -> Option<String>) -> Self {
        let is_set = |name: &str| lookup(name).is_some_and(|value| !value.is_empty());
        let is_dumb = lookup("TERM").is_some_and(|term| term == "dumb");
        let is_plain = is_set("NO_COLOR") || is_dumb;
        let locale = ["LC_ALL", "LC_CTYPE", "LANG"].into_iter().find(|name| is_set(name)).and_then(&lookup);
        let locale = locale.unwrap_or_default().to_ascii_lowercase();
        let (width, height) = size.unwrap_or_default();
        Self {
            is_terminal: size.is_some(),
            redraws: size.is_some() && !is_dumb,
            width: if width == 0 { USUAL_WIDTH } else { width },
            height: if height == 0 { USUAL_HEIGHT } else { height },
            color: match color {
                Color::Auto => size.is_some() && !is_plain,
                Color::Always => true,
                Color::Never => false,
            },
            utf8: locale.contains("utf-8") || locale.contains("utf8"),
        }
    }

    /// The symbol of a state, without its color.
    pub fn symbol(&self, sign: Sign) -> &'static str {
        match (sign, self.utf8) {
            (Sign::Good, true) => "✓",
            (Sign::Good, false) => "ok",
            (Sign::Look, _) => "!",
            (Sign::Bad, true) => "✗",
            (Sign::Bad, false) => "x",
            (Sign::Running, true) => "●",
            (Sign::Running, false) => "*",
            (Sign::Waiting, true) => "·",
            (Sign::Waiting, false) => ".",
        }
    }

    /// A text in the color of a state.
    pub fn signed(&self, sign: Sign, text: &str) -> String {
        let color = match sign {
            Sign::Good => "32",
            Sign::Look => "33",
            Sign::Bad => "31",
            Sign::Running => "36",
            Sign::Waiting => "2",
        };
        self.escape(color, text)
    }

    /// A text in a tone.
    pub fn toned(&self, tone: Tone, text: &str) -> String {
        match tone {
            Tone::Plain => text.to_owned(),
            Tone::Strong => self.escape("1", text),
            Tone::Faint => self.escape("2", text),
        }
    }

    /// A symbol and a text, in the color of the state.
    pub fn mark(&self, sign: Sign, text: &str) -> String {
        self.signed(sign, &format!("{} {text}", self.symbol(sign)))
    }

    fn escape(&self, code: &str, text: &str) -> String {
        if self.color && !text.is_empty() { format!("\u{1b}[{code}m{text}\u{1b}[0m") } else { text.to_owned() }
    }
}

/// As much of a line as so many columns show. Its colors take no room, and end with it.
pub fn fit(line: &str, width: usize) -> String {
    let (mut fitted, mut room, mut rest) = (String::new(), width, line);
    while let Some(c) = rest.chars().next() {
        let color = if rest.starts_with("\u{1b}[") { rest.find('m') } else { None };
        let (taken, end) = color.map_or((c.width().unwrap_or_default(), c.len_utf8()), |end| (0, end + 1));
        let Some(left) = room.checked_sub(taken) else {
            return if fitted.contains('\u{1b}') { fitted + "\u{1b}[0m" } else { fitted };
        };
        room = left;
        fitted.push_str(&rest[..end]);
        rest = &rest[end..];
    }
    fitted
}

/// Makes a text from somewhere else harmless on a terminal: agencies write tag values, and a control character in one
/// could rewrite what stands beside it.
pub fn harmless(text: &str) -> String {
    text.chars().map(|c| if is_unsafe(c) { '\u{fffd}' } else { c }).collect()
}

fn is_unsafe(c: char) -> bool {
    // Controls, and what changes the direction of the text around it.
    c.is_control() || matches!(c, '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stream(size: Option<(usize, usize)>, color: Color, variables: &[(&str, &str)]) -> Stream {
        Stream::new(size, color, |name| {
            variables.iter().find(|(key, _)| *key == name).map(|(_, value)| (*value).to_owned())
        })
    }

    #[test]
    fn color_is_for_terminals_that_want_it() {
        let terminal = Some((100, 40));
        for (size, color, variables, expected) in [
            (terminal, Color::Auto, &[][..], true),
            (None, Color::Auto, &[], false),
            (terminal, Color::Auto, &[("NO_COLOR", "1")], false),
            (terminal, Color::Auto, &[("NO_COLOR", "")], true),
            (terminal, Color::Auto, &[("TERM", "dumb")], false),
            (terminal, Color::Never, &[], false),
            (None, Color::Always, &[("NO_COLOR", "1")], true),
        ] {
            assert_eq!(stream(size, color, variables).color, expected, "{size:?} {color:?} {variables:?}");
        }
        assert!(stream(terminal, Color::Auto, &[("NO_COLOR", "1")]).redraws);
        assert!(!stream(terminal, Color::Always, &[("TERM", "dumb")]).redraws);
        assert!(!stream(None, Color::Always, &[]).redraws);
    }

    #[test]
    fn symbols_are_ascii_without_a_utf8_locale() {
        for (variables, expected) in [
            (&[("LANG", "en_US.UTF-8")][..], "✓"),
            (&[("LANG", "C.utf8")], "✓"),
            (&[("LC_ALL", "C"), ("LANG", "en_US.UTF-8")], "ok"),
            (&[], "ok"),
        ] {
            assert_eq!(stream(None, Color::Auto, variables).symbol(Sign::Good), expected, "{variables:?}");
        }
    }

    #[test]
    fn a_color_stands_beside_a_symbol() {
        let stream = stream(Some((0, 0)), Color::Auto, &[("LANG", "C.UTF-8")]);
        assert_eq!((stream.width, stream.height), (80, 24));
        assert_eq!(stream.mark(Sign::Bad, "offline"), "\u{1b}[31m✗ offline\u{1b}[0m");
    }

    #[test]
    fn a_line_fits_without_its_colors() {
        for (line, width, expected) in [
            ("abc", 3, "abc"),
            ("abcd", 3, "abc"),
            ("größe", 4, "größ"),
            ("日本語", 5, "日本"),
            ("a\u{1b}[31m✗ bc\u{1b}[0md", 5, "a\u{1b}[31m✗ bc\u{1b}[0m\u{1b}[0m"),
            ("a\u{1b}[31m✗ bc\u{1b}[0md", 3, "a\u{1b}[31m✗ \u{1b}[0m"),
            ("\u{1b}[2mab\u{1b}[0m", 2, "\u{1b}[2mab\u{1b}[0m"),
        ] {
            assert_eq!(fit(line, width), expected, "{line:?} {width}");
        }
    }

    #[test]
    fn what_an_agency_wrote_cannot_move_the_cursor() {
        assert_eq!(harmless("a\u{1b}[2Jb\n\u{202e}c"), "a\u{fffd}[2Jb\u{fffd}\u{fffd}c");
        assert_eq!(harmless("Überwachung · R&D"), "Überwachung · R&D");
    }
}
