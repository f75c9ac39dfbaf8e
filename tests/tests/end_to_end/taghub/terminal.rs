//! On a terminal: color, width, hints, and questions.

use std::process::Stdio;

use tests::{AGENCY_A, HOME_REGION, World, program};

use super::Operator;

#[tokio::test]
async fn a_terminal_shows_tables_blocks_and_colors() {
    let world = World::deployed().await.unwrap();
    let web = world.enroll(AGENCY_A, HOME_REGION, &[("Name", "web-01"), ("Env", "PROD")]).await.unwrap();
    world.sweep_well(AGENCY_A).await.unwrap();
    let operator = Operator::central(&world).with("TERM", Some("xterm"));

    let wide = operator.on_terminal(120, "nodes", "").await.out;
    let row = format!("web-01  {}  {AGENCY_A}  {}  \u{1b}[32m✓ online\u{1b}[0m", web.node, web.instance);
    assert!(wide.contains(&row) && wide.contains("NODE    ID") && wide.contains("1 node"), "{wide}");

    let narrow = operator.on_terminal(40, "nodes", "").await.out;
    let block = format!("\u{1b}[1mweb-01\u{1b}[0m\n  \u{1b}[2mid      \u{1b}[0m  {}\n", web.node);
    assert!(narrow.contains(&block), "{narrow}");

    let plain = Operator::central(&world).with("TERM", Some("xterm")).with("NO_COLOR", Some("1")).with("LANG", None);
    let plain = plain.on_terminal(120, "nodes --quiet", "").await.out;
    assert!(plain.contains("ok online  ok in step") && !plain.contains('\u{1b}'), "{plain}");
}

#[tokio::test]
async fn nobody_has_to_read_what_verbose_tells() {
    let world = World::deployed().await.unwrap();
    let operator = Operator::central(&world);
    let mut command = operator.command(program("taghub").unwrap());
    command.args(["nodes", "--verbose"]).stdout(Stdio::null()).stderr(Stdio::piped());
    let ended = tokio::task::spawn_blocking(move || {
        let mut child = command.spawn().unwrap();
        drop(child.stderr.take());
        child.wait().unwrap().code()
    });
    assert_eq!(ended.await.unwrap(), Some(0));
}

#[tokio::test]
async fn completions_and_the_manual_need_no_aws() {
    let world = World::start(tests::Paths::from_env().unwrap(), 0, None).unwrap();
    let nobody = Operator::central(&world).with("AWS_ACCESS_KEY_ID", None).with("AWS_ENDPOINT_URL", None);
    assert!(nobody.run_well("completions bash").await.out.contains("_taghub"));
    let page = nobody.run_well("man").await.out;
    assert!(page.contains(".TH taghub") && page.contains("TAGHUB RUN START") && page.contains("expect"), "{page}");
    let help = nobody.run_well("nodes --help").await.out;
    assert!(help.starts_with("Examples:\n  taghub nodes "), "{help}");
    assert!(nobody.run_well("--version").await.out.starts_with("taghub "));
}
