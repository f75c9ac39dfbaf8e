//! scripts/iam.py, with which `make check` holds every policy against AWS's own list of actions.

use std::process::{Command, Output};

use tests::Paths;

/// Checks a text of `template.yaml`.
fn check(template: &str) -> Output {
    let paths = Paths::from_env().unwrap();
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("template.yaml");
    std::fs::write(&file, template).unwrap();
    Command::new(&paths.python).arg(paths.repository.join("scripts/iam.py")).arg(file).output().unwrap()
}

#[test]
fn a_mistake_in_any_part_of_a_policy_is_named() {
    let template = Paths::from_env().unwrap().text("template.yaml").unwrap();
    let good = check(&template);
    assert!(good.status.success(), "{}", String::from_utf8_lossy(&good.stderr));
    for (written, mistaken, complaint) in [
        (
            "Action: ssm:CreateActivation\n",
            "Action: ssm:CreateActivations\n",
            "there is no action ssm:CreateActivations",
        ),
        ("aws:RequestTag/tag-hub:agency", "aws:RequestTags/tag-hub:agency", "no condition key aws:RequestTags/"),
        ("iam:PassedToService", "iam:PassedToServices", "iam:PassRole knows no condition key iam:PassedToServices"),
        (
            "lambda:ListAliases\n                Resource: !GetAtt SsmTagManager.Arn",
            "lambda:ListAliases\n                Resource: !GetAtt ActivationIssuerLogs.Arn",
            "lambda:ListAliases takes function, and not arn:*:logs:",
        ),
        ("ssm:GetServiceSetting\n", "ssm:DescribeActivations\n", "ssm:DescribeActivations takes no resource but *"),
    ] {
        let broken = template.replacen(written, mistaken, 1);
        assert_ne!(broken, template, "{written} is not in template.yaml any more");
        let refused = check(&broken);
        let words = String::from_utf8_lossy(&refused.stderr);
        assert!(!refused.status.success() && words.contains(complaint), "{mistaken}: {words}");
        assert!(words.contains("template.yaml, ActivationIssuer"), "{mistaken}, where? {words}");
    }
}
