//! The simulated API gives the answers of the table, which a real API server gives too.

use std::collections::BTreeSet;

use simulation::conformance;
use simulation::effect::Process;
use simulation::kubernetes::{Denied, Store};
use simulation::world::World;

#[tokio::test(start_paused = true)]
async fn the_simulated_api_answers_as_the_table_says() {
    let world = World::new().unwrap();
    // A real server's watch cache knows nothing from before a kind was defined.
    world.api.store(Store::compact);
    world.start_controllers();
    let client = world.client(&Process::new("test"));
    let differences = conformance::play(&client).await.unwrap();
    let said: Vec<String> = differences.iter().map(ToString::to_string).collect();
    assert!(
        said.is_empty(),
        "{} differences:\n{}",
        said.len(),
        said.join("\n")
    );
}

#[tokio::test(start_paused = true)]
async fn a_server_that_answers_otherwise_is_found_out() {
    let world = World::new().unwrap();
    world.api.store(|store| {
        store.compact();
        store.admit("no Secrets", |write| match write.resource.as_str() {
            "secrets" => Err(Denied("exceeded quota".into())),
            _ => Ok(()),
        });
    });
    world.start_controllers();
    let client = world.client(&Process::new("test"));
    let differences = conformance::play(&client).await.unwrap();
    let cases: BTreeSet<&str> = differences.iter().map(|one| one.case.as_str()).collect();
    assert!(
        cases.contains("secrets") && cases.contains("dry run"),
        "{cases:?}"
    );
    assert!(!cases.contains("watch"), "{cases:?}");
    assert!(
        differences
            .iter()
            .any(|one| one.what.contains("exceeded quota"))
    );
}
