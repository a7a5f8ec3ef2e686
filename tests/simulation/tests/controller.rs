//! kube's own machinery, unchanged, on the simulated API under paused time.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use bytes::Bytes;
use futures::StreamExt;
use k8s_openapi::api::core::v1::{ConfigMap, Namespace, Secret};
use kube::api::{DeleteParams, ListParams, ObjectMeta, Patch, PatchParams, PostParams};
use kube::runtime::controller::Action;
use kube::runtime::events::{Event, EventType, Recorder as Events, Reporter};
use kube::runtime::finalizer::{Event as Life, finalizer};
use kube::runtime::{Controller, watcher};
use kube::{Api, Client, Resource, ResourceExt};
use serde_json::json;
use simulation::effect::{Call, Door, Process};
use simulation::recorder::Cut;
use simulation::script::{Act, Moment, Rule};
use simulation::world::World;
use tokio::time::{Instant, sleep};

const DAY: Duration = Duration::from_secs(24 * 3600);

struct Toy {
    client: Client,
    passes: Arc<AtomicUsize>,
}

/// Keeps a Secret for each ConfigMap, and writes down the day in it.
async fn reconcile(map: Arc<ConfigMap>, toy: Arc<Toy>) -> Result<Action, kube::Error> {
    toy.passes.fetch_add(1, Ordering::Relaxed);
    let namespace = map.namespace().unwrap_or_default();
    let maps: Api<ConfigMap> = Api::namespaced(toy.client.clone(), &namespace);
    let secrets: Api<Secret> = Api::namespaced(toy.client.clone(), &namespace);
    let done = finalizer(&maps, "toy.example/secret", map, |life| async move {
        match life {
            Life::Apply(map) => {
                if secrets.get_opt(&map.name_any()).await?.is_none() {
                    let secret = Secret {
                        metadata: ObjectMeta {
                            name: Some(map.name_any()),
                            owner_references: map
                                .controller_owner_ref(&())
                                .map(|owner| vec![owner]),
                            ..ObjectMeta::default()
                        },
                        string_data: Some([("key".into(), "value".into())].into()),
                        ..Secret::default()
                    };
                    secrets.create(&PostParams::default(), &secret).await?;
                }
                Ok(Action::requeue(Duration::from_secs(3600)))
            }
            Life::Cleanup(map) => {
                let gone = secrets
                    .delete(&map.name_any(), &DeleteParams::default())
                    .await;
                match gone {
                    Err(kube::Error::Api(status)) if status.is_not_found() => {}
                    other => drop(other?),
                }
                Ok::<_, kube::Error>(Action::await_change())
            }
        }
    })
    .await;
    match done {
        Ok(action) => Ok(action),
        Err(_) => Ok(Action::requeue(Duration::from_secs(5))),
    }
}

async fn operate(client: Client, passes: Arc<AtomicUsize>) {
    let maps: Api<ConfigMap> = Api::all(client.clone());
    let secrets: Api<Secret> = Api::all(client.clone());
    Controller::new(maps, watcher::Config::default())
        .owns(secrets, watcher::Config::default())
        .run(
            reconcile,
            |_, _: &kube::Error, _| Action::requeue(Duration::from_secs(5)),
            Arc::new(Toy { client, passes }),
        )
        .for_each(|_| std::future::ready(()))
        .await;
}

fn start(world: &World, process: &Process, passes: &Arc<AtomicUsize>) {
    let (inner, passes) = (world.clone(), passes.clone());
    world.run(process, move |life| {
        operate(inner.client(&life), passes.clone())
    });
}

fn map(name: &str) -> ConfigMap {
    ConfigMap {
        metadata: ObjectMeta {
            name: Some(name.into()),
            ..ObjectMeta::default()
        },
        ..ConfigMap::default()
    }
}

#[tokio::test(start_paused = true)]
async fn ninety_days_of_a_controller_with_finalizers_and_cut_watches() {
    let world = World::new().unwrap();
    world.start_controllers();
    let process = Process::new("toy");
    let passes = Arc::default();
    start(&world, &process, &passes);
    let client = world.client(&Process::new("test"));
    let maps: Api<ConfigMap> = Api::namespaced(client.clone(), "default");
    let secrets: Api<Secret> = Api::namespaced(client, "default");
    let began = Instant::now();
    maps.create(&PostParams::default(), &map("one"))
        .await
        .unwrap();
    sleep(Duration::from_secs(60)).await;
    assert!(secrets.get_opt("one").await.unwrap().is_some());
    for day in 0..90 {
        world.api.cut("toy", "configmaps");
        world.api.cut("toy", "secrets");
        if day % 10 == 0 {
            // The list after the cut finds the history forgotten.
            world.api.store(simulation::kubernetes::Store::compact);
        }
        if day % 7 == 0 {
            // Deleted by hand, healed through the watch of owned objects.
            secrets
                .delete("one", &DeleteParams::default())
                .await
                .unwrap();
            sleep(Duration::from_secs(3600)).await;
            assert!(secrets.get_opt("one").await.unwrap().is_some(), "day {day}");
        }
        sleep(DAY.saturating_sub(Duration::from_secs(3600))).await;
    }
    maps.delete("one", &DeleteParams::default()).await.unwrap();
    sleep(Duration::from_secs(60)).await;
    assert!(
        maps.list(&ListParams::default())
            .await
            .unwrap()
            .items
            .is_empty()
    );
    assert!(
        secrets
            .list(&ListParams::default())
            .await
            .unwrap()
            .items
            .is_empty()
    );
    assert!(began.elapsed() > DAY * 80);
    assert!(passes.load(Ordering::Relaxed) > 80 * 24);
}

#[tokio::test(start_paused = true)]
async fn a_crash_around_every_effect_still_ends_well() {
    let story = async |rule: Option<(Moment, usize)>| {
        let world = World::new().unwrap();
        world.start_controllers();
        let process = Process::new("toy");
        let ticket = rule.map(|(moment, number)| {
            world
                .recorder
                .script(Rule::effect(Act::Crash(moment), &process, number))
        });
        let api = world.api.clone();
        world.recorder.oracle("a Secret has an owner", move |_| {
            let fine = api.store(|store| {
                store
                    .all("secrets")
                    .all(|secret| secret["metadata"]["ownerReferences"].is_array())
            });
            fine.then_some(()).ok_or_else(|| "it has none".to_owned())
        });
        start(&world, &process, &Arc::default());
        let client = world.client(&Process::new("test"));
        let maps: Api<ConfigMap> = Api::namespaced(client.clone(), "default");
        let secrets: Api<Secret> = Api::namespaced(client, "default");
        maps.create(&PostParams::default(), &map("one"))
            .await
            .unwrap();
        sleep(Duration::from_secs(600)).await;
        assert!(secrets.get_opt("one").await.unwrap().is_some());
        maps.delete("one", &DeleteParams::default()).await.unwrap();
        sleep(Duration::from_secs(600)).await;
        assert!(maps.get_opt("one").await.unwrap().is_none());
        assert!(secrets.get_opt("one").await.unwrap().is_none());
        assert!(world.recorder.violations().is_empty());
        assert_eq!(
            ticket.map_or(1, |ticket| ticket.count()),
            1,
            "the crash took place"
        );
        let effects = world.recorder.effects();
        effects
            .iter()
            .filter(|effect| effect.call.process.name == process.name)
            .count()
    };
    let effects = story(None).await;
    assert!(
        effects >= 4,
        "finalizer, Secret, Secret, finalizer: {effects}"
    );
    for number in 0..effects {
        story(Some((Moment::Before, number))).await;
        story(Some((Moment::After, number))).await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_paused_process_goes_on_where_it_was() {
    let world = World::new().unwrap();
    let (one, other) = (Process::new("one"), Process::new("other"));
    let slow: Api<ConfigMap> = Api::namespaced(world.client(&one), "default");
    let quick: Api<ConfigMap> = Api::namespaced(world.client(&other), "default");
    let made = quick
        .create(&PostParams::default(), &map("shared"))
        .await
        .unwrap();
    world.recorder.pause(&one);
    let stale = made.clone();
    let late =
        tokio::spawn(async move { slow.replace("shared", &PostParams::default(), &stale).await });
    sleep(Duration::from_secs(300)).await;
    let patch = Patch::Merge(json!({"data": {"by": "other"}}));
    quick
        .patch("shared", &PatchParams::default(), &patch)
        .await
        .unwrap();
    assert!(!late.is_finished());
    world.recorder.wake(&one);
    // Without resourceVersion this would overwrite; with it the stale writer loses.
    let Err(kube::Error::Api(status)) = late.await.unwrap() else {
        panic!("the stale writer won")
    };
    assert_eq!(status.code, 409);
}

#[tokio::test(start_paused = true)]
async fn faults_at_the_door_happen_on_the_side_they_say() {
    let world = World::new().unwrap();
    let process = Process::new("a");
    let maps: Api<ConfigMap> = Api::namespaced(world.client(&process), "default");
    let exists = |name: &str| {
        world
            .api
            .store(|store| store.get("configmaps", "default", name).is_some())
    };
    let create = async |name: &str, act: Act| {
        world.recorder.script(Rule::once(act, Call::is_effect));
        maps.create(&PostParams::default(), &map(name)).await
    };
    assert!(create("refused", Act::Refuse).await.is_err());
    assert!(!exists("refused"));
    assert!(create("lost", Act::Lose).await.is_err());
    assert!(exists("lost"));
    assert!(
        create("late", Act::Late(Duration::from_secs(20)))
            .await
            .is_err()
    );
    assert!(!exists("late"));
    sleep(Duration::from_secs(21)).await;
    assert!(exists("late"));
    let began = Instant::now();
    create("slow", Act::Slow(Duration::from_secs(7)))
        .await
        .unwrap();
    assert_eq!(began.elapsed(), Duration::from_secs(7));
    let busy = Act::status(
        http::StatusCode::TOO_MANY_REQUESTS,
        "TooManyRequests",
        "slow down",
    );
    let Err(kube::Error::Api(status)) = create("busy", busy).await else {
        panic!("no refusal")
    };
    assert_eq!(status.code, 429);
    assert!(!exists("busy"));
}

#[tokio::test(start_paused = true)]
async fn a_watcher_can_be_kept_in_the_past() {
    let world = World::new().unwrap();
    let process = Process::new("a");
    let maps: Api<ConfigMap> = Api::namespaced(world.client(&process), "default");
    let (reader, writer) = kube::runtime::reflector::store();
    let stream = watcher(maps.clone(), watcher::Config::default());
    tokio::spawn(kube::runtime::reflector(writer, stream).for_each(|_| std::future::ready(())));
    reader.wait_until_ready().await.unwrap();
    world.api.hold("a", "configmaps");
    maps.create(&PostParams::default(), &map("unseen"))
        .await
        .unwrap();
    sleep(Duration::from_secs(100)).await;
    assert!(reader.state().is_empty());
    assert!(
        maps.get_opt("unseen").await.unwrap().is_some(),
        "a live read is never stale"
    );
    let any = ListParams::default().match_any();
    assert!(
        maps.list(&any).await.unwrap().items.is_empty(),
        "a cached list may be"
    );
    world.api.release("a", "configmaps");
    sleep(Duration::from_secs(1)).await;
    assert_eq!(reader.state().len(), 1);
    let version = world.api.store(|store| store.version());
    world.api.lose("a", "configmaps", version + 1);
    maps.delete("unseen", &DeleteParams::default())
        .await
        .unwrap();
    sleep(Duration::from_secs(1)).await;
    assert_eq!(reader.state().len(), 1, "the event is lost");
}

#[tokio::test(start_paused = true)]
async fn a_namespace_goes_with_all_that_is_in_it() {
    let world = World::new().unwrap();
    world.start_controllers();
    let client = world.client(&Process::new("test"));
    let spaces: Api<Namespace> = Api::all(client.clone());
    let maps: Api<ConfigMap> = Api::namespaced(client, "team");
    let space = Namespace {
        metadata: ObjectMeta {
            name: Some("team".into()),
            ..ObjectMeta::default()
        },
        ..Namespace::default()
    };
    spaces.create(&PostParams::default(), &space).await.unwrap();
    let mut held = map("held");
    held.metadata.finalizers = Some(vec!["test.example/hold".into()]);
    maps.create(&PostParams::default(), &held).await.unwrap();
    maps.create(&PostParams::default(), &map("free"))
        .await
        .unwrap();
    spaces
        .delete("team", &DeleteParams::default())
        .await
        .unwrap();
    sleep(Duration::from_secs(30)).await;
    assert!(maps.get_opt("free").await.unwrap().is_none());
    assert!(
        maps.get("held")
            .await
            .unwrap()
            .metadata
            .deletion_timestamp
            .is_some()
    );
    let Err(kube::Error::Api(status)) = maps.create(&PostParams::default(), &map("late")).await
    else {
        panic!("a namespace that goes took an object")
    };
    assert_eq!(status.code, 403);
    let free = Patch::Merge(json!({"metadata": {"finalizers": null}}));
    maps.patch("held", &PatchParams::default(), &free)
        .await
        .unwrap();
    sleep(Duration::from_secs(30)).await;
    assert!(spaces.get_opt("team").await.unwrap().is_none());
}

#[tokio::test(start_paused = true)]
async fn events_are_published() {
    let world = World::new().unwrap();
    let client = world.client(&Process::new("test"));
    let maps: Api<ConfigMap> = Api::namespaced(client.clone(), "default");
    let made = maps
        .create(&PostParams::default(), &map("one"))
        .await
        .unwrap();
    let events = Events::new(
        client.clone(),
        Reporter {
            controller: "toy".into(),
            instance: None,
        },
    );
    let event = Event {
        type_: EventType::Normal,
        reason: "Ready".into(),
        note: Some("all is well".into()),
        action: "Look".into(),
        secondary: None,
    };
    events.publish(&event, &made.object_ref(&())).await.unwrap();
    events.publish(&event, &made.object_ref(&())).await.unwrap();
    let all: Api<k8s_openapi::api::events::v1::Event> = Api::namespaced(client, "default");
    let published = all.list(&ListParams::default()).await.unwrap().items;
    assert_eq!(published.len(), 1);
    assert!(published[0].series.is_some(), "the second is counted");
}

#[tokio::test(start_paused = true)]
async fn a_deploy_server_has_the_same_door() {
    let world = World::new().unwrap();
    let process = Process::new("a");
    let keys = Arc::new(AtomicUsize::new(0));
    let post = async || {
        let request = http::Request::post("https://octopus.example/api/users/1/apikeys")
            .body(Bytes::new())
            .unwrap();
        let call = Call::of(&process, Door::Server("octopus".into()), &request);
        let keys = keys.clone();
        let twin = async move {
            keys.fetch_add(1, Ordering::Relaxed);
            Ok(http::Response::new(Bytes::from_static(b"{}")))
        };
        world.recorder.pass(call, |bytes| bytes, twin).await
    };
    assert!(post().await.is_ok());
    world
        .recorder
        .script(Rule::once(Act::Lose, Call::is_effect));
    assert_eq!(post().await.unwrap_err(), Cut::Uncertain);
    world
        .recorder
        .script(Rule::once(Act::Refuse, Call::is_effect));
    assert_eq!(post().await.unwrap_err(), Cut::Unsent);
    let late = Act::Late(Duration::from_secs(20));
    world.recorder.script(Rule::once(late, Call::is_effect));
    assert_eq!(post().await.unwrap_err(), Cut::Uncertain);
    assert_eq!(keys.load(Ordering::Relaxed), 2);
    sleep(Duration::from_secs(21)).await;
    assert_eq!(keys.load(Ordering::Relaxed), 3);
    let statuses: Vec<bool> = world
        .recorder
        .effects()
        .iter()
        .map(|effect| effect.status.is_some())
        .collect();
    assert_eq!(statuses, [true, true, false, true]);
}

#[tokio::test(start_paused = true)]
async fn a_held_request_lands_though_its_sender_has_died() {
    let world = World::new().unwrap();
    let process = Process::new("a");
    let maps: Api<ConfigMap> = Api::namespaced(world.client(&process), "default");
    let ticket = world
        .recorder
        .script(Rule::once(Act::Hold(Moment::Before), Call::is_effect));
    let sender =
        tokio::spawn(async move { maps.create(&PostParams::default(), &map("held")).await });
    ticket.met().await;
    world.recorder.crash(&process);
    sender.abort();
    let exists = || {
        world
            .api
            .store(|store| store.get("configmaps", "default", "held").is_some())
    };
    assert!(!exists());
    ticket.release();
    sleep(Duration::from_secs(1)).await;
    assert!(exists());
}

#[tokio::test(start_paused = true)]
async fn a_cluster_is_restored_from_a_snapshot() {
    let world = World::new().unwrap();
    let maps: Api<ConfigMap> = Api::namespaced(world.client(&Process::new("a")), "default");
    maps.create(&PostParams::default(), &map("old"))
        .await
        .unwrap();
    let (reader, writer) = kube::runtime::reflector::store();
    let stream = watcher(maps.clone(), watcher::Config::default());
    tokio::spawn(kube::runtime::reflector(writer, stream).for_each(|_| std::future::ready(())));
    reader.wait_until_ready().await.unwrap();
    let snapshot = world.api.store(|store| store.snapshot());
    maps.create(&PostParams::default(), &map("new"))
        .await
        .unwrap();
    maps.delete("old", &DeleteParams::default()).await.unwrap();
    world.api.store(|store| store.restore(&snapshot));
    sleep(Duration::from_secs(60)).await;
    let names: Vec<String> = reader.state().iter().map(|map| map.name_any()).collect();
    assert_eq!(names, ["old"], "watchers have listed anew");
}
