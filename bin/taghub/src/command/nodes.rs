//! `taghub nodes`.

use clap::{Args, ValueEnum};
use hub::AGENCY_TAG_KEY;

use crate::app::App;
use crate::aws::agencies::{find, granted};
use crate::aws::hub::Hub;
use crate::aws::{news, nodes};
use crate::failure::{Exit, Failure};
use crate::flags::{Format, pair};
use crate::progress::Progress;
use crate::terminal::harmless;
use crate::view::agencies::Agency;
use crate::view::nodes::{COLUMNS, Latest, Listed, Ping, Summary, Tagging, has_tag};
use crate::view::table::{self, Layout, Row};
use crate::view::time::counted;

const EXAMPLES: &str = "\
Examples:
  taghub nodes                                   every node of the hub
  taghub nodes --agency Parks --offline          an agency's nodes that have not been heard from
  taghub nodes --tag Env=PROD --tag Role=web     nodes that carry both tags
  taghub nodes --conflict                        nodes that two instances claim
  taghub nodes --tag Env=TEST --ids              ids alone, one a line, for another program
  taghub nodes -o json | jq -r '.id'             one JSON object a line";

/// List the managed nodes, each with its origin and state
///
/// TAGS says how the last reports found a node: the node's own tags and an hour of the manager's log are read. With
/// several of --offline, --unlinked and --conflict a node is listed if one of them holds.
#[derive(Debug, Args)]
#[command(before_long_help = EXAMPLES)]
#[expect(clippy::struct_excessive_bools, reason = "each is a flag on the command line")]
pub struct Nodes {
    /// Nodes of an agency: its account id or its name
    #[arg(long, value_name = "AGENCY")]
    agency: Option<String>,
    /// Nodes with a tag; with several, those that carry all of them
    #[arg(long, value_name = "KEY=VALUE", value_parser = pair)]
    tag: Vec<(String, String)>,
    /// Nodes that are offline
    #[arg(long)]
    offline: bool,
    /// Nodes whose instance lost its tag managedinstanceid
    #[arg(long)]
    unlinked: bool,
    /// Nodes that another instance claims
    #[arg(long)]
    conflict: bool,
    /// Sort after reading everything; otherwise nodes appear as AWS returns them
    #[arg(long, value_enum, value_name = "name|agency|seen", hide_possible_values = true)]
    sort: Option<Order>,
    /// Print only ids
    #[arg(long)]
    ids: bool,
    /// Exit with 1 if a listed node is offline or its tags are not in step
    #[arg(long)]
    exit_code: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Order {
    Name,
    Agency,
    Seen,
}

impl Nodes {
    /// Runs the command.
    ///
    /// # Errors
    /// If the hub, its agencies or its nodes cannot be read.
    pub async fn run(self, app: &App) -> Result<Exit, Failure> {
        let progress = Progress::new(app, "Looking for the hub");
        let hub = Hub::find(app).await?;
        let agencies = granted(&hub).await?;
        let agency = self.agency.as_deref().map(|wanted| find(&agencies, wanted, &hub)).transpose()?;
        let news = if self.ids && !(self.unlinked || self.conflict || self.exit_code) {
            None
        } else {
            self.news(app, &hub).await?
        };
        // The service filters by one tag alone; the others are looked at here.
        let owner = agency.map(|agency| (AGENCY_TAG_KEY.to_owned(), agency.account.to_string()));
        let filter = owner.iter().chain(&self.tag).next().cloned();
        let mut pages = nodes::Pages::new(&hub, filter);
        let mut printer = Printer { app, ids: self.ids, layout: None };
        let (mut summary, mut read, mut kept) = (Summary::default(), 0, Vec::new());
        printer.begin()?;
        while let Some(page) = pages.next().await? {
            read += page.len();
            progress.set(&format!("{} read", counted(read, "node")));
            let listed = page.into_iter().map(|node| Listed::new(node, news.as_ref(), &agencies));
            let mut listed: Vec<Listed> = listed.filter(|listed| self.wants(listed, agency)).collect();
            for one in &listed {
                summary.add(one);
            }
            if self.sort.is_some() {
                kept.append(&mut listed);
            } else if !listed.is_empty() {
                progress.make_room();
                printer.print(&listed)?;
            }
        }
        drop(progress);
        if let Some(order) = self.sort {
            sort(&mut kept, order);
            printer.print(&kept)?;
        }
        if summary.nodes == 0 {
            self.explain_nothing(app, &hub, agency).await?;
        } else {
            app.hint(&summary.words());
        }
        Ok(Exit::wrong_if(self.exit_code && summary.needs_a_look()))
    }

    /// The manager's log, without which two filters cannot work and one column says less.
    async fn news(&self, app: &App, hub: &Hub) -> Result<Option<Latest>, Failure> {
        match news::lately(hub, app.now()).await {
            Ok(news) => Ok(Some(news)),
            Err(error) if self.unlinked || self.conflict => Err(Failure::aws(&error, "the log of the manager")),
            Err(error) => {
                app.say(&format!("warning: the log of the manager was not read, so TAGS says less: {}", error.code));
                Ok(None)
            }
        }
    }

    fn wants(&self, listed: &Listed, agency: Option<&Agency>) -> bool {
        let of_agency = agency.is_none_or(|agency| listed.account().as_ref() == Some(&agency.account));
        let tagged = self.tag.iter().all(|tag| has_tag(&listed.node.tags, tag));
        let any = self.offline || self.unlinked || self.conflict;
        let state = (self.offline && listed.node.ping != Ping::Online)
            || (self.unlinked && listed.tagging == Tagging::Unlinked)
            || (self.conflict && listed.tagging == Tagging::Conflict);
        of_agency && tagged && (!any || state)
    }

    /// Says what there is instead, on standard error.
    async fn explain_nothing(&self, app: &App, hub: &Hub, agency: Option<&Agency>) -> Result<(), Failure> {
        if let [(key, value)] = self.tag.as_slice() {
            let mut values: Vec<(String, usize)> = nodes::count_by(hub, key).await?.into_iter().collect();
            values.sort_by(|(a_value, a), (b_value, b)| b.cmp(a).then(a_value.cmp(b_value)));
            let values: Vec<String> = values.iter().take(10).map(|(value, count)| format!("{value} {count}")).collect();
            app.say(&harmless(&match values.as_slice() {
                [] => format!("no node has the tag {key}={value}; no node has the key {key}"),
                values => format!("no node has the tag {key}={value}; values in use: {}", values.join(", ")),
            }));
        } else if let Some(agency) = agency {
            app.say(&format!("no such node of {}; taghub doctor --agency {} says why", agency.label(), agency.account));
        } else {
            app.say(&format!("no such node in {}", hub.place()));
        }
        Ok(())
    }
}

fn sort(listed: &mut [Listed], order: Order) {
    let name = |listed: &Listed| listed.node.name.clone().unwrap_or_default();
    match order {
        Order::Name => listed.sort_by_key(|listed| (name(listed), listed.node.id.clone())),
        Order::Agency => listed.sort_by_key(|listed| (listed.agency.clone(), name(listed), listed.node.id.clone())),
        Order::Seen => listed.sort_by_key(|listed| (listed.node.last_ping, listed.node.id.clone())),
    }
}

/// Prints nodes as they come.
struct Printer<'a> {
    app: &'a App,
    ids: bool,
    /// By the first page: what comes later is not known yet.
    layout: Option<Layout>,
}

impl Printer<'_> {
    fn begin(&self) -> Result<(), Failure> {
        let is_csv = self.app.global.output == Format::Csv && !self.ids;
        if is_csv { self.app.print(&table::csv_header(&COLUMNS)) } else { Ok(()) }
    }

    fn print(&mut self, listed: &[Listed]) -> Result<(), Failure> {
        if self.ids {
            let lines = listed.iter().map(|listed| format!("{}\n", listed.node.id));
            return self.app.print(&lines.collect::<String>());
        }
        if self.app.is_json() {
            let lines = listed.iter().map(|listed| serde_json::to_string(&listed.json()).unwrap_or_default() + "\n");
            return self.app.print(&lines.collect::<String>());
        }
        let rows: Vec<Row> = listed.iter().map(Listed::row).collect();
        let out = &self.app.out;
        let text: String = match self.app.global.output {
            Format::Csv => rows.iter().map(table::csv_row).collect(),
            Format::Table if out.is_terminal => {
                let header = if self.layout.is_some() {
                    String::new()
                } else {
                    self.layout.insert(Layout::of(&COLUMNS, &rows, out)).header(out)
                };
                let layout = self.layout.as_ref();
                header + &rows.iter().filter_map(|row| Some(layout?.row(row, out))).collect::<String>()
            }
            Format::Table | Format::Json => rows.iter().map(table::tabs).collect(),
        };
        self.app.print(&text)
    }
}
