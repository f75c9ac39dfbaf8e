//! What can be seen in the script without running it.

use std::collections::BTreeSet;

use register_instance::Reason;

use crate::syntax::{SCRIPT, all, errors, parse, root};

/// The grammar is that of an editor and not PowerShell's own: it finds what is no script, and not all that would fail.
#[test]
fn it_is_a_script() {
    assert_eq!(errors(root()), [0; 0], "the lines that are no script");
    for broken in [SCRIPT.replacen("{ return", "{{ return", 1), SCRIPT.replacen("foreach (", "foreach ((", 1)] {
        assert_ne!(errors(parse(&broken).root_node()), [0; 0]);
    }
    // 5.1 takes a file without a mark for one in the code page of the machine.
    assert!(SCRIPT.is_ascii());
}

#[test]
fn every_exit_code_is_one_of_the_program_and_told_in_the_help() {
    let (help, _) = SCRIPT.split_once("#>").unwrap();
    let (_, told) = help.split_once("Exit codes are those of register-instance:").unwrap();
    let told: BTreeSet<u8> = told
        .split([';', ':', '\n'])
        .filter_map(|part| part.split_whitespace().next())
        .filter_map(|word| word.parse().ok())
        .collect();
    let mut expected: BTreeSet<u8> = Reason::all().map(Reason::exit_code).filter(|code| *code != 16).collect();
    expected.insert(0);
    assert_eq!(told, expected, "16 is for signals, which Windows has none of");
    let fails = all(root()).into_iter().filter(|node| node.kind() == "command");
    let texts = fails.map(|node| &SCRIPT[node.byte_range()]).filter_map(|text| text.strip_prefix("Fail "));
    let used: BTreeSet<u8> = texts.filter_map(|text| text.split(' ').next().unwrap().parse().ok()).collect();
    assert!(used.is_subset(&expected) && used.len() > 10, "{used:?}");
}

/// Constructs that Windows PowerShell 5.1 does not have, and what lets others decide what is run.
#[test]
fn it_is_for_5_1_and_trusts_no_environment() {
    for node in all(root()) {
        let text = &SCRIPT[node.byte_range()];
        let is_new = matches!(node.kind(), "ternary_expression" | "null_coalescing_expression")
            || matches!(text, "??" | "??=" | "?." | "&&" | "||");
        assert!(!is_new, "5.1 does not know {text}");
    }
    assert!(!SCRIPT.contains("$env:"), "whoever starts it may have changed that");
    assert!(!SCRIPT.contains("Get-Date"), "a local time among those of UTC");
    assert!(!SCRIPT.contains("System.Threading.Mutex"), "everybody may hold a mutex of that name");
    assert!(!SCRIPT.contains("-register -y"));
    // Names of variables are the same in any case: no function takes one of the script's own for itself.
    let assigned = |scope: &str| -> BTreeSet<String> {
        let begins = scope.lines().filter_map(|line| line.strip_prefix('$')?.split_once(" = "));
        begins.map(|(name, _)| name.to_lowercase()).collect()
    };
    let mut own = assigned(SCRIPT);
    let parameters = all(crate::syntax::child(root(), "param_block").unwrap()).into_iter();
    own.extend(
        parameters.filter(|node| node.kind() == "variable").map(|node| SCRIPT[node.byte_range()][1..].to_lowercase()),
    );
    assert!(own.contains("runtime") && own.contains("deadline"));
    for node in all(root()).into_iter().filter(|node| node.kind() == "function_statement") {
        let targets = all(node)
            .into_iter()
            .filter(|node| matches!(node.kind(), "left_assignment_expression" | "script_parameter"));
        for target in targets.flat_map(all).filter(|node| node.kind() == "variable") {
            let is_plain =
                target.parent().is_some_and(|parent| !matches!(parent.kind(), "member_access" | "element_access"));
            let name = SCRIPT[target.byte_range()].trim_start_matches('$').to_lowercase();
            assert!(
                !is_plain || !own.contains(&name),
                "${name} is one of the script's own, in line {}",
                crate::syntax::line(target)
            );
        }
    }
}
