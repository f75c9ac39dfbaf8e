//! The agencies that were granted, and sessions in their accounts.

use hub::{AGENCY_ALIAS_PREFIX, AccountId, AwsError};

use crate::app::App;
use crate::aws::hub::Hub;
use crate::aws::session::{Session, profiles_of};
use crate::failure::Failure;
use crate::view::agencies::Agency;

/// What the alias of an agency without a name is described as, before its account.
const UNNAMED: &str = "Reports of account ";

/// The agencies that were granted, in the order of their accounts.
///
/// # Errors
/// If the aliases of the manager cannot be listed.
pub async fn granted(hub: &Hub) -> Result<Vec<Agency>, Failure> {
    let manager = &hub.about.names.manager;
    let client = hub.session.lambda();
    let mut pages = client.list_aliases().function_name(manager).into_paginator().send();
    let mut agencies = Vec::new();
    while let Some(page) = pages.next().await {
        let page = page.map_err(|error| Failure::aws(&AwsError::from_sdk("lambda:ListAliases", &error), manager))?;
        agencies.extend(page.aliases.unwrap_or_default().into_iter().filter_map(|alias| {
            let account = alias.name?.strip_prefix(AGENCY_ALIAS_PREFIX)?.parse().ok()?;
            let name = alias.description.filter(|text| !text.is_empty() && !text.starts_with(UNNAMED));
            Some(Agency { account, name, manager_version: alias.function_version.unwrap_or_default() })
        }));
    }
    agencies.sort_by(|a: &Agency, b| a.account.cmp(&b.account));
    Ok(agencies)
}

/// The agency of an account id or a name.
///
/// # Errors
/// If none was granted under it, with the nearest name; if several have the name.
pub fn find<'a>(agencies: &'a [Agency], wanted: &str, hub: &Hub) -> Result<&'a Agency, Failure> {
    if let Some(agency) = named(agencies, wanted)? {
        return Ok(agency);
    }
    let failure = Failure::missing("no-agency", format!("no agency {wanted} in the hub of {}", hub.place()));
    if let Ok(account) = wanted.parse::<AccountId>() {
        return Err(failure
            .detail(format!("The alias agency-{account} of {} is not there.", hub.about.names.manager))
            .help(format!("grant it: deploy cfn/agency-grant.yaml with AgencyAccountId={account}")));
    }
    let near = |label: &&str| strsim::jaro_winkler(&label.to_lowercase(), &wanted.to_lowercase());
    let labels = agencies.iter().map(Agency::label).filter(|label| near(label) > 0.8);
    Err(match labels.max_by(|a, b| near(a).total_cmp(&near(b))) {
        Some(label) => failure.help(format!("did you mean {label}?")),
        None => failure.help("taghub agencies lists them"),
    })
}

fn named<'a>(agencies: &'a [Agency], wanted: &str) -> Result<Option<&'a Agency>, Failure> {
    if let Some(agency) = agencies.iter().find(|agency| agency.account.as_str() == wanted) {
        return Ok(Some(agency));
    }
    let has_it = |agency: &&Agency| agency.name.as_ref().is_some_and(|name| name.eq_ignore_ascii_case(wanted));
    let found: Vec<&Agency> = agencies.iter().filter(has_it).collect();
    match found.as_slice() {
        [] => Ok(None),
        [agency] => Ok(Some(agency)),
        several => {
            let accounts: Vec<&str> = several.iter().map(|agency| agency.account.as_str()).collect();
            Err(Failure::usage(format!("several agencies are named {wanted}: {}", accounts.join(", ")))
                .help("name the agency by its account"))
        }
    }
}

/// A session in an agency's account: with `--agency-profile`, or with the only profile that names the account.
///
/// # Errors
/// Without such a profile, and with one of another account.
pub async fn session(app: &App, account: &AccountId, region: &hub::Region) -> Result<Session, Failure> {
    let profile = match &app.global.agency_profile {
        Some(profile) => profile.clone(),
        None => match profiles_of(account).await.as_slice() {
            [profile] => {
                app.hint(&format!("profile {profile} for {account}"));
                profile.clone()
            }
            [] => {
                return Err(Failure::usage(format!("no profile for the agency's account {account}"))
                    .detail("No profile of the AWS configuration has this sso_account_id or a role_arn of it.")
                    .help("add --agency-profile"));
            }
            several => {
                return Err(Failure::usage(format!("several profiles for the agency's account {account}"))
                    .detail(several.join(", "))
                    .help("choose one with --agency-profile"));
            }
        },
    };
    let session = Session::open(app, Some(&profile), Some(region)).await?;
    let caller = session.caller().await?;
    if caller.account != *account {
        let message = format!("profile \"{profile}\" is of {}, not of {account}", caller.account);
        return Err(Failure::usage(message).help("add --agency-profile with a profile of the agency's account"));
    }
    Ok(session)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_agency_is_named_by_its_account_or_by_a_name_of_its_own() {
        let agency = |account: &str, name: &str| Agency {
            account: account.parse().unwrap(),
            name: Some(name.to_owned()),
            manager_version: "7".to_owned(),
        };
        let all = [
            agency("222222222222", "Parks"),
            agency("333333333333", "parks"),
            agency("444444444444", "Water"),
            agency("555555555555", "444444444444"),
        ];
        for (wanted, expected) in
            [("222222222222", Some(0)), ("444444444444", Some(2)), ("WATER", Some(2)), ("Libraries", None)]
        {
            assert_eq!(named(&all, wanted).unwrap(), expected.map(|at: usize| &all[at]), "{wanted}");
        }
        let failure = named(&all, "Parks").unwrap_err();
        assert_eq!(failure.exit, crate::failure::Exit::Usage);
        assert_eq!(failure.message, "several agencies are named Parks: 222222222222, 333333333333");
    }
}
