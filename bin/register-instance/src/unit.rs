//! The environment that the service manager gives the agent.
//!
//! `systemctl show` would tell the same, but not on a machine that has just been changed and not reloaded, and not with
//! upstart. So the files are read: the unit, its drop-ins and what they name, in the order of `systemd.unit(5)`.
//! `service` starts a script with an empty environment, so there it is what the script and its configuration export.

use std::path::Path;

use crate::detect::Manager;
use crate::machine::Machine;
use crate::proxy::Variables;

/// Where units and drop-ins are, the most important folder first.
pub(crate) const UNIT_FOLDERS: [&str; 6] = [
    "/etc/systemd/system",
    "/run/systemd/system",
    "/run/systemd/generator",
    "/usr/local/lib/systemd/system",
    "/usr/lib/systemd/system",
    "/lib/systemd/system",
];

/// The variables of the agent's service.
pub(crate) fn environment<M: Machine>(machine: &M, manager: &Manager) -> Variables {
    match manager {
        Manager::Systemd { unit, .. } => systemd(machine, unit),
        Manager::Upstart { job } => upstart(machine, job),
        Manager::Script { name } => script(machine, name),
    }
}

/// The file of a unit and where it is.
pub(crate) fn file<M: Machine>(machine: &M, unit: &str) -> Option<String> {
    UNIT_FOLDERS.iter().map(|folder| format!("{folder}/{unit}")).find(|path| machine.exists(path))
}

fn systemd<M: Machine>(machine: &M, unit: &str) -> Variables {
    let mut settings = Settings::default();
    for path in ["/etc/systemd/system.conf".to_owned()]
        .into_iter()
        .chain(dropins(machine, &["/etc/systemd/system.conf.d".to_owned()]))
    {
        settings.read(machine, &path, "Manager");
    }
    if let Some(path) = file(machine, unit) {
        settings.read(machine, &path, "Service");
    }
    let names = dropin_folders(unit);
    let folders: Vec<String> =
        UNIT_FOLDERS.iter().flat_map(|folder| names.iter().map(move |name| format!("{folder}/{name}"))).collect();
    for path in dropins(machine, &folders) {
        settings.read(machine, &path, "Service");
    }
    settings.variables(machine)
}

/// `a-b.service.d`, and those that hold for every unit of such a name: `a-.service.d`, `service.d`.
fn dropin_folders(unit: &str) -> Vec<String> {
    let stem = unit.trim_end_matches(".service");
    let prefixes = stem.match_indices('-').map(|(at, _)| format!("{}.service.d", &stem[..=at]));
    let mut folders: Vec<String> = prefixes.collect();
    folders.push(format!("{unit}.d"));
    folders.reverse();
    folders.push("service.d".to_owned());
    folders
}

/// Drop-ins sorted by name; of two with one name that of the more important folder counts.
fn dropins<M: Machine>(machine: &M, folders: &[String]) -> Vec<String> {
    let mut found = Variables::new();
    for folder in folders {
        for name in machine
            .list(folder)
            .into_iter()
            .filter(|name| Path::new(name).extension().is_some_and(|extension| extension == "conf"))
        {
            found.entry(name.clone()).or_insert_with(|| format!("{folder}/{name}"));
        }
    }
    found.into_values().collect()
}

/// What unit files say about the environment.
#[derive(Debug, Default)]
struct Settings {
    assigned: Vec<String>,
    files: Vec<String>,
    unset: Vec<String>,
}

impl Settings {
    fn read<M: Machine>(&mut self, machine: &M, path: &str, wanted: &str) {
        let contents = machine.read_configuration(path).ok().flatten().unwrap_or_default();
        let mut section = String::new();
        for line in joined(&contents) {
            let line = line.trim();
            if let Some(name) = line.strip_prefix('[').and_then(|line| line.strip_suffix(']')) {
                name.clone_into(&mut section);
            } else if section == wanted
                && let Some((key, value)) = line.split_once('=')
            {
                self.set(key.trim(), value.trim());
            }
        }
    }

    fn set(&mut self, key: &str, value: &str) {
        let list = match key {
            "Environment" | "DefaultEnvironment" => &mut self.assigned,
            "EnvironmentFile" => &mut self.files,
            "UnsetEnvironment" => &mut self.unset,
            _ => return,
        };
        if value.is_empty() {
            // An empty setting takes back all before it.
            list.clear();
        } else if key == "EnvironmentFile" {
            list.push(value.to_owned());
        } else {
            list.extend(words(value));
        }
    }

    fn variables<M: Machine>(&self, machine: &M) -> Variables {
        let mut variables: Variables = self.assigned.iter().filter_map(|word| assignment(word)).collect();
        for path in &self.files {
            let contents = machine.read_configuration(path.trim_start_matches('-')).ok().flatten();
            variables.extend(contents.iter().flat_map(|contents| environment_file(contents)));
        }
        for unset in &self.unset {
            match unset.split_once('=') {
                // With a value it takes back that value alone.
                Some((name, value)) => variables.retain(|found, has| found != name || has != value),
                None => drop(variables.remove(unset)),
            }
        }
        variables
    }
}

fn upstart<M: Machine>(machine: &M, job: &str) -> Variables {
    let mut variables = Variables::new();
    for extension in ["conf", "override"] {
        let contents = machine.read_configuration(&format!("/etc/init/{job}.{extension}")).ok().flatten();
        let contents = contents.unwrap_or_default();
        let assigned = contents.lines().filter_map(|line| line.trim().strip_prefix("env "));
        variables.extend(assigned.filter_map(|assigned| assignment(&words(assigned.trim()).join(" "))));
    }
    variables
}

fn script<M: Machine>(machine: &M, name: &str) -> Variables {
    let files = ["sysconfig", "default", "init.d"].map(|folder| format!("/etc/{folder}/{name}"));
    let contents = files.iter().filter_map(|path| machine.read_configuration(path).ok().flatten());
    let mut variables = Variables::new();
    for contents in contents {
        let exported = contents.lines().filter_map(|line| line.trim().strip_prefix("export "));
        variables.extend(exported.flat_map(words).filter_map(|word| assignment(&word)));
    }
    variables
}

/// Lines, with those that end in a backslash joined to the next, and without comments.
fn joined(contents: &str) -> Vec<String> {
    let mut lines: Vec<String> = Vec::new();
    let mut open = false;
    for line in contents.lines().filter(|line| !line.trim_start().starts_with(['#', ';'])) {
        let (text, goes_on) = line.strip_suffix('\\').map_or((line, false), |text| (text, true));
        match lines.last_mut().filter(|_| open) {
            Some(last) => *last = format!("{last} {text}"),
            None => lines.push(text.to_owned()),
        }
        open = goes_on;
    }
    lines
}

fn assignment(word: &str) -> Option<(String, String)> {
    let (name, value) = word.split_once('=')?;
    (!name.is_empty()).then(|| (name.to_owned(), value.to_owned()))
}

/// The lines of an `EnvironmentFile`.
fn environment_file(contents: &str) -> Vec<(String, String)> {
    let lines = joined(contents).into_iter();
    let assigned = lines.filter_map(|line| {
        let (name, value) = assignment(line.trim())?;
        // What a shell would take, such as `export A=1`, has no name that systemd takes.
        (!name.contains(char::is_whitespace)).then(|| (name, file_value(&value)))
    });
    assigned.collect()
}

/// A value in an `EnvironmentFile`: quotes count at its beginning alone, and blanks at its end do not.
fn file_value(text: &str) -> String {
    let (mut value, mut quote, mut is_plain, mut end) = (String::new(), None, false, 0);
    let mut rest = text.chars();
    while let Some(c) = rest.next() {
        match (c, quote) {
            (c, Some(close)) if c == close => quote = None,
            ('\\', Some('"')) => match rest.next() {
                Some(next @ ('"' | '\\' | '$' | '`')) => value.push(next),
                next => value.extend(['\\'].into_iter().chain(next)),
            },
            ('\\', None) => value.extend(rest.next()),
            ('"' | '\'', None) if !is_plain => quote = Some(c),
            (c, None) if !is_plain && c.is_whitespace() => {}
            (c, _) => {
                is_plain = quote.is_none();
                value.push(c);
            }
        }
        if quote.is_some() || !c.is_whitespace() {
            end = value.len();
        }
    }
    value.truncate(end);
    value
}

/// Words as systemd splits them: quotes group, a backslash begins an escape as in C, `%%` is `%`.
fn words(text: &str) -> Vec<String> {
    let (mut words, mut word, mut quote, mut is_word) = (Vec::new(), String::new(), None, false);
    let mut rest = text.chars().peekable();
    while let Some(c) = rest.next() {
        match (c, quote) {
            ('\\', _) => {
                word.extend(escaped(&mut rest));
                is_word = true;
            }
            (_, Some(end)) if c == end => quote = None,
            ('"' | '\'', None) => (quote, is_word) = (Some(c), true),
            (c, None) if c.is_whitespace() => {
                if is_word {
                    words.push(std::mem::take(&mut word));
                }
                is_word = false;
            }
            ('%', _) if rest.peek() == Some(&'%') => {
                rest.next();
                word.push('%');
                is_word = true;
            }
            (c, _) => {
                word.push(c);
                is_word = true;
            }
        }
    }
    if is_word {
        words.push(word);
    }
    words
}

/// What follows a backslash.
fn escaped(rest: &mut std::iter::Peekable<std::str::Chars<'_>>) -> Option<char> {
    let first = rest.next()?;
    let mut number = |digits: &str, radix| {
        let digits: String = digits.chars().chain(rest.by_ref().take(2)).collect();
        u8::from_str_radix(&digits, radix).ok().map(char::from)
    };
    match first {
        'a' => Some('\x07'),
        'b' => Some('\x08'),
        'f' => Some('\x0c'),
        'n' => Some('\n'),
        'r' => Some('\r'),
        's' => Some(' '),
        't' => Some('\t'),
        'v' => Some('\x0b'),
        'x' => number("", 16),
        '0'..='3' => number(&first.to_string(), 8),
        other => Some(other),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_split_as_systemd_does() {
        for (text, expected) in [
            ("A=1 B=2", vec!["A=1", "B=2"]),
            (r#""A=1 2" 'B=3 4' C="5 6""#, vec!["A=1 2", "B=3 4", "C=5 6"]),
            (r"A=x\ y", vec!["A=x y"]),
            (r#""A=a\x41\101\tb" B=\\\"\s"#, vec!["A=aAA\tb", "B=\\\" "]),
            ("A=http://u:p%%40w@proxy:3128", vec!["A=http://u:p%40w@proxy:3128"]),
            (r#""A=""#, vec!["A="]),
            ("  ", vec![]),
        ] {
            assert_eq!(words(text), expected, "{text}");
        }
    }

    #[test]
    fn lines_are_joined_and_comments_left_out() {
        assert_eq!(
            joined("[Service]\n# c\nEnvironment=A=1 \\\n  B=2\n; c\nX=1"),
            ["[Service]", "Environment=A=1    B=2", "X=1"]
        );
        let file = environment_file(
            "# c\nHTTPS_PROXY=\"http://proxy:1\"\nNO_PROXY='a, b'\nX=y z \nexport Y=1\nZ=a\\b\"c\"\n\n",
        );
        let expected = [("HTTPS_PROXY", "http://proxy:1"), ("NO_PROXY", "a, b"), ("X", "y z"), ("Z", "ab\"c\"")];
        assert_eq!(file, expected.map(|(name, value)| (name.to_owned(), value.to_owned())));
    }

    #[test]
    fn a_unit_has_the_dropins_of_its_prefixes() {
        let expected = ["amazon-ssm-agent.service.d", "amazon-ssm-.service.d", "amazon-.service.d", "service.d"];
        assert_eq!(dropin_folders("amazon-ssm-agent.service"), expected);
    }
}
