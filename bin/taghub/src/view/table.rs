//! Tables: for people on a terminal, for programs in a pipe, and as CSV.

use unicode_width::UnicodeWidthStr;

use crate::terminal::{NARROW, Sign, Stream, Tone, harmless};

const GAP: &str = "  ";

/// What stands in one place of a table on a terminal.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Cell {
    sign: Option<Sign>,
    words: String,
}

impl Cell {
    /// Words alone.
    pub fn text(words: impl AsRef<str>) -> Self {
        Self { sign: None, words: harmless(words.as_ref()) }
    }

    /// Words with a symbol.
    pub fn mark(sign: Sign, words: impl AsRef<str>) -> Self {
        Self { sign: Some(sign), ..Self::text(words) }
    }

    fn plain(&self, stream: &Stream) -> String {
        match self.sign {
            Some(sign) => format!("{} {}", stream.symbol(sign), self.words),
            None => self.words.clone(),
        }
    }

    fn colored(&self, stream: &Stream) -> String {
        let plain = self.plain(stream);
        match self.sign {
            Some(sign) => stream.signed(sign, &plain),
            None => plain,
        }
    }
}

/// A row: what a terminal shows, and what a program reads.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Row {
    /// One for each column. The first is what the row is about.
    pub cells: Vec<Cell>,
    /// Full ids, times in RFC 3339, words instead of symbols.
    pub piped: Vec<String>,
}

/// The columns of a table, for either reader.
#[derive(Debug, Clone, Copy)]
pub struct Columns {
    /// Headers on a terminal.
    pub headers: &'static [&'static str],
    /// How many of them, from the left, are never left out.
    pub kept: usize,
    /// Headers of the CSV.
    pub keys: &'static [&'static str],
}

/// How wide each column is on a terminal.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Layout {
    columns: &'static [&'static str],
    /// Empty if each row is a block.
    widths: Vec<usize>,
}

impl Layout {
    /// As wide as these rows need; columns that do not fit are left out, from the right.
    pub fn of(columns: &Columns, rows: &[Row], stream: &Stream) -> Self {
        let headers = columns.headers;
        if stream.width < NARROW {
            return Self { columns: headers, widths: Vec::new() };
        }
        let width_of = |at: usize| {
            let cells = rows.iter().filter_map(|row| row.cells.get(at)).map(|cell| cell.plain(stream).width());
            cells.fold(headers[at].width(), usize::max)
        };
        let mut widths: Vec<usize> = (0..headers.len()).map(width_of).collect();
        let total = |widths: &[usize]| widths.iter().sum::<usize>() + GAP.len() * widths.len().saturating_sub(1);
        while widths.len() > columns.kept && total(&widths) > stream.width {
            widths.pop();
        }
        if total(&widths) > stream.width {
            widths.clear();
        }
        Self { columns: headers, widths }
    }

    /// The line with the headers, with its line feed; nothing if rows are blocks.
    pub fn header(&self, stream: &Stream) -> String {
        if self.widths.is_empty() {
            return String::new();
        }
        let cells: Vec<Cell> = self.columns.iter().map(Cell::text).collect();
        let line = self.line(&cells, stream, Cell::plain);
        format!("{}\n", stream.toned(Tone::Faint, &line))
    }

    /// A row with its line feed, or as a block.
    pub fn row(&self, row: &Row, stream: &Stream) -> String {
        if self.widths.is_empty() {
            return self.block(row, stream);
        }
        format!("{}\n", self.line(&row.cells, stream, Cell::colored))
    }

    fn line(&self, cells: &[Cell], stream: &Stream, show: impl Fn(&Cell, &Stream) -> String) -> String {
        let mut line = String::new();
        // Spaces come with the text behind them: no line ends with any.
        let mut spaces = 0;
        for (cell, width) in cells.iter().zip(&self.widths) {
            let taken = cell.plain(stream).width();
            if taken > 0 {
                line.push_str(&" ".repeat(spaces));
                line.push_str(&show(cell, stream));
                spaces = 0;
            }
            spaces += width.saturating_sub(taken) + GAP.len();
        }
        line
    }

    fn block(&self, row: &Row, stream: &Stream) -> String {
        let mut cells = row.cells.iter();
        let title = cells.next().map(|cell| cell.colored(stream)).unwrap_or_default();
        let mut text = format!("{}\n", stream.toned(Tone::Strong, &title));
        let names = self.columns.iter().skip(1);
        let width = names.clone().map(|name| name.width()).max().unwrap_or_default();
        for (name, cell) in names.zip(cells) {
            let name = format!("{:width$}", name.to_lowercase());
            text.push_str(&format!("  {}  {}\n", stream.toned(Tone::Faint, &name), cell.colored(stream)));
        }
        text
    }
}

/// All of a table on a terminal.
pub fn render(columns: &Columns, rows: &[Row], stream: &Stream) -> String {
    if rows.is_empty() {
        return String::new();
    }
    let layout = Layout::of(columns, rows, stream);
    rows.iter().fold(layout.header(stream), |text, row| text + &layout.row(row, stream))
}

/// A row in a pipe: separated by tabs, with its line feed.
pub fn tabs(row: &Row) -> String {
    let fields: Vec<String> = row.piped.iter().map(|field| harmless(field)).collect();
    format!("{}\n", fields.join("\t"))
}

/// The header of a CSV.
pub fn csv_header(columns: &Columns) -> String {
    csv_line(columns.keys.iter().copied())
}

/// A row of a CSV.
pub fn csv_row(row: &Row) -> String {
    csv_line(row.piped.iter().map(String::as_str))
}

fn csv_line<'a>(fields: impl Iterator<Item = &'a str>) -> String {
    let fields: Vec<String> = fields.map(csv_field).collect();
    format!("{}\r\n", fields.join(","))
}

/// A field without a value is empty. Agencies write tag values: what a spreadsheet would take for a formula gets an apostrophe.
fn csv_field(field: &str) -> String {
    if field == "-" {
        return String::new();
    }
    let field = harmless(field);
    let field = if field.starts_with(['=', '+', '-', '@']) { format!("'{field}") } else { field };
    if field.contains(['"', ',']) { format!("\"{}\"", field.replace('"', "\"\"")) } else { field }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::terminal::Color;

    const COLUMNS: Columns = Columns { headers: &["NODE", "ID", "ONLINE"], kept: 2, keys: &["id", "name", "online"] };

    fn stream(width: usize) -> Stream {
        Stream::new(Some((width, 24)), Color::Never, |name| (name == "LANG").then(|| "C.UTF-8".to_owned()))
    }

    fn rows() -> Vec<Row> {
        let row = |name: &str, id: &str, online: Cell, word: &str| Row {
            cells: vec![Cell::text(name), Cell::text(id), online],
            piped: vec![id.to_owned(), name.to_owned(), word.to_owned()],
        };
        vec![
            row("booking-db-01", "mi-0fdaf2f8939c665c3", Cell::mark(Sign::Good, "online"), "online"),
            row("größe", "mi-0e07f5679fff02eba", Cell::mark(Sign::Bad, "offline"), "offline"),
        ]
    }

    #[test]
    fn columns_stand_under_each_other_and_leave_from_the_right() {
        insta::assert_snapshot!(render(&COLUMNS, &rows(), &stream(80)), @r"
        NODE           ID                    ONLINE
        booking-db-01  mi-0fdaf2f8939c665c3  ✓ online
        größe          mi-0e07f5679fff02eba  ✗ offline
        ");
        let wide = [Row {
            cells: vec![Cell::text("x".repeat(30)), Cell::text("mi-0"), Cell::text("y".repeat(30))],
            ..Row::default()
        }];
        let layout = Layout::of(&COLUMNS, &wide, &stream(60));
        assert_eq!(layout.header(&stream(60)), format!("NODE{}  ID\n", " ".repeat(26)));
    }

    #[test]
    fn below_60_columns_a_row_is_a_block() {
        insta::assert_snapshot!(render(&COLUMNS, &rows(), &stream(40)), @r"
        booking-db-01
          id      mi-0fdaf2f8939c665c3
          online  ✓ online
        größe
          id      mi-0e07f5679fff02eba
          online  ✗ offline
        ");
        let long = [Row { cells: vec![Cell::text("x".repeat(80)), Cell::text("mi-0")], ..Row::default() }];
        assert!(render(&COLUMNS, &long, &stream(70)).starts_with(&"x".repeat(80)), "an id is never cut");
    }

    #[test]
    fn in_a_pipe_there_are_words_and_no_header() {
        assert_eq!(
            rows().iter().map(tabs).collect::<String>(),
            "mi-0fdaf2f8939c665c3\tbooking-db-01\tonline\nmi-0e07f5679fff02eba\tgröße\toffline\n"
        );
        let hostile = Row { piped: vec!["a\tb\nc".to_owned(), "d".to_owned()], ..Row::default() };
        assert_eq!(tabs(&hostile), "a\u{fffd}b\u{fffd}c\td\n");
        assert_eq!(render(&COLUMNS, &[], &stream(80)), "");
    }

    #[test]
    fn a_csv_is_quoted_and_calls_nothing() {
        assert_eq!(csv_header(&COLUMNS), "id,name,online\r\n");
        let row = |fields: &[&str]| {
            csv_row(&Row { piped: fields.iter().map(|field| (*field).to_owned()).collect(), ..Row::default() })
        };
        assert_eq!(row(&["a,b", "say \"x\"", "=HYPERLINK(1)"]), "\"a,b\",\"say \"\"x\"\"\",'=HYPERLINK(1)\r\n");
        assert_eq!(row(&["mi-0", "-", "-1"]), "mi-0,,'-1\r\n");
        assert_eq!(row(&["a\u{1b}[2J", "b\nc"]), "a\u{fffd}[2J,b\u{fffd}c\r\n");
    }
}
