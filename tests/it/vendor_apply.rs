//! From what is registered to what is wanted, with somebody else at work.

use protocol::diagnostic::Hint;
use trtc_callbacks::tencent_api::{CallbackConfig, Change, Client, Failure, Product, WriteOutcome};

use crate::vendor::{APP, URL, client_of, limits, stub};
use crate::vendor_stub::{Config, Fault, Stub};

fn wanted(product: Product) -> CallbackConfig {
    CallbackConfig::new(URL, product.usual_commands())
}

/// What somebody else registers.
fn others(product: Product) -> Config {
    let first = product.usual_commands().next().unwrap().to_owned();
    Config { url: "https://others.example.com".to_owned(), commands: vec![first] }
}

fn registered(stub: &Stub, product: Product) -> Option<CallbackConfig> {
    let config = stub.config(APP, product.service())?;
    Some(CallbackConfig::new(config.url, config.commands))
}

fn actions(stub: &Stub) -> Vec<String> {
    stub.seen().iter().map(|seen| seen.action().to_owned()).collect()
}

async fn apply(client: &Client, product: Product) -> Change {
    client.apply(product, &wanted(product)).await.unwrap().0
}

#[tokio::test]
async fn a_new_app_is_registered_and_a_second_run_writes_nothing() {
    let (stub, clock) = stub().await;
    let client = client_of(&stub, &clock, limits());
    for product in Product::ALL {
        assert!(matches!(apply(&client, product).await, Change::Set(_)));
        assert_eq!(registered(&stub, product), Some(wanted(product)));
    }
    let before = stub.seen().len();
    for product in Product::ALL {
        assert_eq!(apply(&client, product).await, Change::None);
    }
    assert_eq!(actions(&stub)[before..], ["get_callback"; 3]);
}

#[tokio::test]
async fn a_difference_is_updated_or_set_for_call() {
    let (stub, clock) = stub().await;
    let client = client_of(&stub, &clock, limits());
    for product in Product::ALL {
        stub.put(APP, product.service(), Some(others(product)));
        let (change, plan) = client.apply(product, &wanted(product)).await.unwrap();
        assert_eq!(plan.before().unwrap().url, "https://others.example.com");
        assert_eq!(plan.diff().url_after.as_deref(), Some(URL));
        assert_eq!(matches!(change, Change::Updated(_)), product.has_update(), "{change:?}");
        assert_eq!(registered(&stub, product), Some(wanted(product)));
    }
}

#[tokio::test]
async fn order_and_aliases_of_commands_are_no_difference() {
    let (stub, clock) = stub().await;
    let client = client_of(&stub, &clock, limits());
    let mut config = Config { url: URL.to_owned(), commands: wanted(Product::Room).commands };
    config.commands.reverse();
    for name in &mut config.commands {
        *name = name.replace("Room.CallbackAfterUpdateRoomInfo", "Room.CallbackUpdateRoomInfo");
    }
    stub.put(APP, "room_config", Some(config));
    assert_eq!(apply(&client, Product::Room).await, Change::None);
    assert_eq!(actions(&stub), ["get_callback"]);
}

#[tokio::test]
async fn a_plan_changes_nothing() {
    let (stub, clock) = stub().await;
    let client = client_of(&stub, &clock, limits());
    stub.put(APP, "live_config", Some(others(Product::Live)));
    let plan = client.plan(Product::Live, &wanted(Product::Live)).await.unwrap();
    assert!(plan.diff().removed.is_empty() && !plan.diff().added.is_empty());
    assert_eq!(actions(&stub), ["get_callback"]);
}

#[tokio::test]
async fn a_concurrent_set_is_overwritten_by_an_update() {
    let (stub, clock) = stub().await;
    let client = client_of(&stub, &clock, limits());
    for product in [Product::Room, Product::Live] {
        stub.fail(
            &format!("{}/set_callback", product.service()),
            1,
            Fault::OthersSet(others(product)),
        );
        let (change, plan) = client.apply(product, &wanted(product)).await.unwrap();
        assert!(matches!(change, Change::Updated(_)), "{change:?}");
        assert_eq!(plan.before().unwrap().url, "https://others.example.com");
        assert_eq!(registered(&stub, product), Some(wanted(product)));
    }
    let one = ["get_callback", "set_callback", "get_callback", "update_callback"];
    assert_eq!(actions(&stub), [one, one].concat());
}

#[tokio::test]
async fn a_concurrent_delete_is_followed_by_a_set() {
    let (stub, clock) = stub().await;
    let client = client_of(&stub, &clock, limits());
    stub.put(APP, "live_config", Some(others(Product::Live)));
    stub.fail("update_callback", 1, Fault::OthersDelete);
    assert!(matches!(apply(&client, Product::Live).await, Change::Set(_)));
    assert_eq!(registered(&stub, Product::Live), Some(wanted(Product::Live)));
    assert_eq!(actions(&stub), ["get_callback", "update_callback", "get_callback", "set_callback"]);
}

#[tokio::test]
async fn a_set_with_a_lost_response_is_found_applied() {
    let (stub, clock) = stub().await;
    let client = client_of(&stub, &clock, limits());
    stub.fail("set_callback", 1, Fault::DoAndDrop);
    assert_eq!(apply(&client, Product::Room).await, Change::Raced);
    assert_eq!(registered(&stub, Product::Room), Some(wanted(Product::Room)));
    stub.fail("call_config/set_callback", 1, Fault::DoAndDrop);
    assert!(
        matches!(apply(&client, Product::Call).await, Change::Set(receipt) if receipt.tries == 2)
    );
}

#[tokio::test]
async fn the_vendors_refusal_counts_more_than_its_current_state() {
    let (stub, clock) = stub().await;
    let client = client_of(&stub, &clock, limits());
    // It still shows none while there is one.
    stub.put(APP, "live_config", Some(others(Product::Live)));
    stub.fail("get_callback", 2, Fault::Code(100_301));
    assert!(matches!(apply(&client, Product::Live).await, Change::Updated(_)));
    assert_eq!(registered(&stub, Product::Live), Some(wanted(Product::Live)));
}

#[tokio::test]
async fn endless_concurrent_writes_end_an_apply() {
    let (stub, clock) = stub().await;
    let client = client_of(&stub, &clock, limits());
    stub.fail("set_callback", 9, Fault::OthersSet(others(Product::Live)));
    stub.fail("update_callback", 9, Fault::OthersDelete);
    let error = client.apply(Product::Live, &wanted(Product::Live)).await.unwrap_err();
    assert_eq!(error.failure, Failure::Contended(4));
    assert!(error.hint().unwrap().contains("who else registers callbacks"), "{error}");
    assert_eq!(stub.seen().len(), 9);
}

#[tokio::test]
async fn a_shown_plan_overwrites_only_what_it_showed() {
    let (stub, clock) = stub().await;
    let client = client_of(&stub, &clock, limits());
    for product in Product::ALL {
        let plan = client.plan(product, &wanted(product)).await.unwrap();
        stub.put(APP, product.service(), Some(others(product)));
        let WriteOutcome::Moved(moved) = client.write(&plan).await.unwrap() else {
            panic!("{product} was overwritten");
        };
        assert_eq!(moved.before().unwrap().url, "https://others.example.com");
        assert_eq!(registered(&stub, product).unwrap().url, "https://others.example.com");
        assert!(matches!(client.write(&moved).await.unwrap(), WriteOutcome::Done(_)));
        assert_eq!(registered(&stub, product), Some(wanted(product)));
        // Whoever wrote the same meanwhile did it for us.
        assert!(matches!(client.write(&plan).await.unwrap(), WriteOutcome::Done(Change::None)));
    }
}

#[tokio::test]
async fn a_concurrent_set_returns_a_new_plan_to_show() {
    let (stub, clock) = stub().await;
    let client = client_of(&stub, &clock, limits());
    let plan = client.plan(Product::Live, &wanted(Product::Live)).await.unwrap();
    stub.fail("set_callback", 1, Fault::OthersSet(others(Product::Live)));
    let WriteOutcome::Moved(moved) = client.write(&plan).await.unwrap() else {
        panic!("it was overwritten");
    };
    assert!(matches!(client.write(&moved).await.unwrap(), WriteOutcome::Done(Change::Updated(_))));
    assert_eq!(registered(&stub, Product::Live), Some(wanted(Product::Live)));
}

#[tokio::test]
async fn a_vendor_failure_is_not_taken_for_a_race() {
    let (stub, clock) = stub().await;
    let client = client_of(&stub, &clock, limits());
    let unfit = CallbackConfig::new("https://example.com/?query", ["Live.CallbackAfterCreateRoom"]);
    let error = client.apply(Product::Live, &unfit).await.unwrap_err();
    assert_eq!(error.code(), Some(100_002));
    assert_eq!(actions(&stub), ["get_callback", "set_callback"]);
}
