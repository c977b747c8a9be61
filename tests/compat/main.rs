//! Published clients against the fixture server, alone and through the router: nine features each, as a table that
//! is kept in `docs/compatibility.md`. `POINTSMAN_WRITE_TABLE=1` writes it anew.
#![cfg(target_os = "linux")]
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::disallowed_methods,
    clippy::disallowed_types,
    clippy::print_stdout,
    reason = "tests start processes, measure real time, print it, and fail by panicking"
)]

#[path = "../support/mod.rs"]
mod support;

mod clients;
mod places;
mod rust_client;
mod table;

use std::path::Path;

use futures_util::StreamExt;
use futures_util::stream::iter;

use clients::{CLIENTS, Client};
use places::{PLACES, Place};
use support::count;
use table::{Cell, Table};

/// Clients at a time. Each has a router and a server of its own, so that what is announced there was caused by the
/// client that hears it.
const AT_A_TIME: usize = 4;

/// Everyday runs go to some of the places, soak runs and those that write the table to all.
fn everywhere() -> bool {
    writes() || count(0, 1) == 1
}

fn writes() -> bool {
    std::env::var_os("POINTSMAN_WRITE_TABLE").is_some_and(|v| v == "1")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_table_is_as_written() {
    let places = PLACES.iter().filter(|place| place.everyday || everywhere());
    let mut tables: Vec<Table> = places.map(Table::new).collect();
    let places = tables.iter().map(|table| table.place).enumerate();
    let pairs: Vec<_> = places
        .flat_map(|(at, place)| CLIENTS.iter().map(move |c| (at, place, c)))
        .collect();
    let run = async |(at, place, client): (usize, &Place, &'static Client)| {
        let up = place.start().await;
        (at, client.name, client.run(up.url()).await)
    };
    let rows: Vec<_> = iter(pairs).map(run).buffered(AT_A_TIME).collect().await;
    for (at, client, cells) in rows {
        tables[at].rows.push((client, cells));
    }
    for table in tables.iter().filter(|table| table.place.backend.is_none()) {
        for (client, feature, cell) in table.cells() {
            let failed = matches!(cell, Cell::Failed { .. });
            assert!(!failed, "{client} without the router, {feature}: {cell:?}");
        }
    }
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/compatibility.md");
    if writes() {
        std::fs::create_dir_all(file.parent().unwrap()).unwrap();
        std::fs::write(&file, table::document(&tables)).unwrap();
    }
    let written = std::fs::read_to_string(&file).unwrap_or_default();
    for table in &tables {
        let text = table.text();
        let name = table.place.name;
        assert!(
            written.contains(&text),
            "{name}: docs/compatibility.md says something else (POINTSMAN_WRITE_TABLE=1 writes it anew) than\n{text}"
        );
    }
}
