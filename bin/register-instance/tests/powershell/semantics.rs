//! What the evaluator makes of PowerShell, against its documentation: the pages about comparison operators, the precedence
//! of operators, `return`, `try`, scopes, arrays and strict mode.

use crate::machine::Machine;
use crate::shell::{Flow, Shell};
use crate::syntax::{child, errors, parse};
use crate::value::Value;

/// The outputs of a script, as text.
fn outputs(text: &str) -> Result<Vec<String>, Flow> {
    let text: &'static str = Box::leak(text.to_owned().into_boxed_str());
    let tree = Box::leak(Box::new(parse(text)));
    assert_eq!(errors(tree.root_node()), [0; 0], "{text}");
    let mut shell = Shell::new(Machine::fresh(), text);
    let mut out = vec![];
    shell.statements(child(tree.root_node(), "statement_list").unwrap(), &mut out)?;
    Ok(out.iter().map(Value::text).collect())
}

fn check(text: &str, expected: &str) {
    assert_eq!(outputs(text).unwrap().join("|"), expected, "{text}");
}

/// The type of the exception that a script ends with.
fn throws(text: &str, expected: &str) {
    match outputs(text) {
        Err(Flow::Throw(Value::Object(record))) => {
            let Some(Value::Object(exception)) = record.get("Exception") else { panic!("no exception") };
            assert_eq!(exception.of, expected, "{text}");
        }
        other => panic!("{text}: {other:?}"),
    }
}

#[test]
fn comparisons() {
    check("'ABC' -eq 'abc'", "True");
    check("'ABC' -cne 'abc'", "True");
    check("'abc' -cmatch 'B'", "False");
    check("'abc' -match 'B'", "True");
    check("if ('x12' -match '(\\d)(\\d)') { $Matches[2] }", "2");
    // A pattern that does not match leaves the groups of the one before.
    check("$null = 'x1' -match '(\\d)'; $null = 'y' -match '(\\d)'; $Matches[1]", "1");
    check("\"mi-1`n\" -match '^mi-1$'", "True");
    check("\"mi-1`n\" -match '^mi-1\\z'", "False");
    check("'' -eq $null", "False");
    check("7 -in 7, 8 -and -not $false", "True");
    check("'a' -notin 'A', 'b'", "False");
    check("'AbC' -like 'a*c'", "True");
    // Both bind alike, from left to right.
    check("$true -or $true -and $false", "False");
    check("-not $false -and $true", "True");
}

#[test]
fn what_counts_as_true() {
    for (value, expected) in
        [("@()", "no"), ("@(0)", "no"), ("@(0, 0)", "yes"), ("'0'", "yes"), ("''", "no"), ("0", "no"), ("@{}", "yes")]
    {
        check(&format!("if ({value}) {{ 'yes' }} else {{ 'no' }}"), expected);
    }
}

#[test]
fn lists_come_apart_on_their_way() {
    check("@($null).Count; @().Count; @(1, 2).Count", "1|0|2");
    check("function F { } $x = F; @($x).Count", "0");
    check("function F { return $null } @(F).Count", "1");
    check("function F { return @(1) } (F).GetType().Name", "Int32");
    check("function F { 1; 2 } (F).Count", "2");
    check("$x = @(1); $x.GetType().Name", "Object[]");
    check("$x = @(); $x += 'a'; $x += $null; $x.Count", "2");
    check("foreach ($x in $null) { 'never' } 'end'", "end");
    check("$a, $b = 'k=v=w' -split '=', 2; $a; $b", "k|v=w");
    check("$x = if ($false) { 1 } else { @() }; @($x).Count", "0");
    check("\"a $(@(1, 2))\"", "a 1 2");
    check("@('b', '', 'B', 'b' | Where-Object { $_ } | Select-Object -Unique) -join ','", "b,B");
}

#[test]
fn ends_of_functions_and_of_tries() {
    check("function F { try { 1; throw 'x' } catch { 2 } finally { 3 } } F", "1|2|3");
    check("function F { try { return 1 } finally { 2 } 4 } F", "1|2");
    check("try { throw 'x' } catch { \"$($_.Exception.Message)\" }", "x");
    check("for ($i = 0; ; $i++) { if ($i -lt 2) { continue } $i; break }", "2");
    check("try { try { throw 'a' } finally { 'f' } } catch { $_.Exception.Message }", "f|a");
    check(
        "$p = New-Object System.Exception 'm'; $p.Data['Code'] = 7; try { throw $p } catch { $_.Exception.Data['Code'] }",
        "7",
    );
    // A clause with a type sees what was thrown inside of a method.
    let parse = "[datetimeoffset]::Parse('x', [cultureinfo]::InvariantCulture)";
    check(
        &format!("try {{ {parse} }} catch [System.IO.IOException] {{ 1 }} catch [System.FormatException] {{ 2 }}"),
        "2",
    );
    check(&format!("try {{ {parse} }} catch {{ $_.Exception.GetType().Name }}"), "MethodInvocationException");
    throws("throw 'x'", "RuntimeException");
}

#[test]
fn variables_are_those_of_whoever_calls() {
    check("$Runtime = 1; $runtime = 2; $Runtime", "2");
    check("function F { $x = 2; $x } $x = 1; F; $x", "2|1");
    check("function F { $x } $x = 1; F", "1");
    check("function G($b) { $c = 5; & $b } G { $c }", "5");
    check("function F([int] $n) { $n + 1 } F '41'", "42");
    check("function F([string] $s) { $s.Length } F $null", "0");
    check("function F($a, [string] $b) { \"$a-$b\" } F -b 2 1", "1-2");
}

#[test]
fn strict_mode_forgives_nothing() {
    throws("$x", "RuntimeException");
    throws("$x = $null; $x.Id", "PropertyNotFoundException");
    throws("$x = [pscustomobject]@{ A = 1 }; $x.B", "PropertyNotFoundException");
    throws("$x = [pscustomobject]@{ A = 1 }; $x.B = 2", "RuntimeException");
    throws("@(1)[1]", "IndexOutOfRangeException");
    throws("$x = $null; $x.Trim()", "RuntimeException");
    check("$x = [pscustomobject]@{ A = 1 }; if ($x.PSObject.Properties['B']) { 1 } else { 2 }", "2");
    check("@{ A = 1 }['B'] -eq $null", "True");
}

#[test]
fn text() {
    check("$x = 'v'; \"`$x $x ${x}: $(1 + 1) ''\"", "$x v v: 2 ''");
    check("\"say \"\"x\"\"\"", "say \"x\"");
    check("'it''s'", "it's");
    check("'a b' -split '\\s+' -join '-'", "a-b");
    check("[int] 2.5; [int] 3.5; [int] '7'", "2|4|7");
    check("'a@b' -replace '@.*', '!'", "a!");
}

#[test]
fn json_as_5_1_reads_it() {
    check("'' | ConvertFrom-Json; 'end'", "|end");
    check("('{\"A\": [1]}' | ConvertFrom-Json).a.GetType().Name", "Object[]");
    check("$x = '\"2026-01-01T00:00:00Z\"' | ConvertFrom-Json; $x -is [string]", "True");
    throws("'<html>' | ConvertFrom-Json", "ArgumentException");
}

/// A panic that names the line and what is not known there.
fn is_unknown(text: &str, words: &str) {
    let panic = std::panic::catch_unwind(|| outputs(text)).unwrap_err();
    let said = panic.downcast_ref::<String>().unwrap();
    assert!(said.contains(words) && said.contains("line 2"), "{said}");
}

#[test]
fn nothing_is_guessed() {
    for (text, words) in [
        ("\n1 -shl 2", "does not know"),
        ("\nGet-Date", "this command"),
        ("\nwhile ($true) { }", "while_statement"),
        ("\n'a' -f 1", "does not know"),
        ("\nGet-Item -LiteralPath 'x' -Stream 'y'", "the parameter Stream"),
        ("\n[guid]::NewGuid()", "[guid]::NewGuid()"),
        ("\n'x'.Normalize()", "Normalize"),
        ("\n$env:PATH", "other scopes and drives"),
        ("\n@('a') -eq 'a'", "goes through a list"),
    ] {
        is_unknown(text, words);
    }
}
