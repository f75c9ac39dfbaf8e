//! Symbols and states. A color always stands beside a symbol and a word.

use maud::{Markup, html};

use crate::words::mille;

/// How a state is shown.
#[derive(Debug, Clone, Copy)]
pub(super) enum Look {
    Good,
    Watch,
    Bad,
    Idle,
}

impl Look {
    /// The class of the style, and the name of the symbol.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Good => "good",
            Self::Watch => "warn",
            Self::Bad => "bad",
            Self::Idle => "idle",
        }
    }
}

/// The symbols of all states, once in the page.
pub(super) fn sprite() -> Markup {
    html! {
        svg .sprite aria-hidden="true" {
            symbol id="good" viewBox="0 0 16 16" { circle cx="8" cy="8" r="7" {} path d="M4.6 8.3l2.3 2.3 4.5-5" {} }
            symbol id="warn" viewBox="0 0 16 16" { path d="M8 1.2l7.2 13.3H.8z" {} path d="M8 5.8v4.1M8 11.9v.6" {} }
            symbol id="bad" viewBox="0 0 16 16" {
                path d="M5 .9h6L15.1 5v6L11 15.1H5L.9 11V5z" {} path d="M5.5 5.5l5 5M10.5 5.5l-5 5" {}
            }
            symbol id="idle" viewBox="0 0 16 16" { circle cx="8" cy="8" r="6.3" {} path d="M5 8h6" {} }
        }
    }
}

/// The sign of the program.
pub(super) fn tag() -> Markup {
    html! {
        svg viewBox="0 0 16 16" aria-hidden="true" { path d="M1 2h7l7 7-6 6-8-8z" {} circle cx="5" cy="6" r="1.5" {} }
    }
}

/// A symbol alone.
pub(super) fn icon(look: Look) -> Markup {
    html! { svg .i aria-hidden="true" { use href={ "#" (look.name()) } {} } }
}

/// A symbol and a word.
pub(super) fn pill(look: Look, words: &str) -> Markup {
    html! { span class={ "s " (look.name()) } { (icon(look)) (words) } }
}

/// A bar of parts, each with the class that colors it.
pub(super) fn bar(parts: &[(&str, usize)], of: usize) -> Markup {
    let mut start = 0;
    let placed: Vec<(&str, usize, usize)> = parts
        .iter()
        .map(|(class, count)| {
            let width = mille(*count, of).min(1_000_usize.saturating_sub(start));
            let at = start;
            start += width;
            (*class, at, width)
        })
        .collect();
    html! {
        svg .bar viewBox="0 0 1000 8" preserveAspectRatio="none" aria-hidden="true" {
            @for (class, at, width) in placed {
                @if width > 0 { rect class=(class) x=(at) width=(width) height="8" {} }
            }
        }
    }
}
