use tepui_apps::{Command, Reply};
use tepui_marathon::{ActionKind, EventPayload, PathId};
use tepui_wire::v1::TaskState;

use crate::rig::{Habit, Rig, group, path};

const SHOP: &str = r#"{"id":"/shop","groups":[
    {"id":"db","apps":[{"id":"sql","cmd":"a b","cpus":0.1}]},
    {"id":"front","dependencies":["/shop/db"],"apps":[
        {"id":"web","cmd":"a b","cpus":0.1,"instances":2},
        {"id":"edge","cmd":"a b","cpus":0.1,"dependencies":["/shop/front/web"]}]}]}"#;

#[test]
fn a_group_starts_its_members_in_the_order_of_their_dependencies() {
    let mut rig = Rig::new().agent("a", 10.0);
    rig.habit = Habit::Manual;
    rig.put_group("/", SHOP).unwrap();
    let steps: Vec<Vec<(ActionKind, String)>> = rig.apps.deployments()[0]
        .steps
        .iter()
        .map(|step| step.actions.iter().map(|a| (a.action, a.app.to_string())).collect())
        .collect();
    assert_eq!(steps.len(), 4);
    assert_eq!(steps[0].len(), 3);
    assert_eq!(steps[1], [(ActionKind::ScaleApplication, "/shop/db/sql".to_owned())]);
    assert_eq!(steps[2], [(ActionKind::ScaleApplication, "/shop/front/web".to_owned())]);
    assert_eq!(steps[3], [(ActionKind::ScaleApplication, "/shop/front/edge".to_owned())]);
    rig.advance(30);
    assert_eq!(rig.live_ids().len(), 1, "the database comes first");
    rig.habit = Habit::Prompt;
    let sql = rig.live_ids().remove(0);
    rig.report(&sql, TaskState::TaskRunning);
    rig.advance(60);
    assert_eq!(rig.live_ids().len(), 4);
    assert!(!rig.deploying());
}

#[test]
fn circles_are_refused() {
    let mut rig = Rig::new();
    let refused = rig.put_group(
        "/g",
        r#"{"apps":[{"id":"a","cmd":"a b","dependencies":["b"]},
                    {"id":"b","cmd":"a b","dependencies":["a"]}]}"#,
    );
    let text = serde_json::to_string(&refused.unwrap_err()).unwrap();
    assert!(text.contains("Dependency graph has cyclic dependencies."), "{text}");
    assert!(rig.apps.root().group(&path("/g")).is_none());
    assert!(rig.published.iter().any(|p| matches!(p, EventPayload::GroupChangeFailed { .. })));
}

#[test]
fn an_app_and_a_group_may_not_share_a_name() {
    let mut rig = Rig::new();
    rig.create(r#"{"id":"/g/a","cmd":"a b"}"#).unwrap();
    assert_eq!(rig.create(r#"{"id":"/g","cmd":"a b"}"#).unwrap_err().status, 422);
    let update = group("/g/a", "{}").unwrap();
    let taken = rig.command(Command::CreateGroup { id: path("/g/a"), update, force: false });
    assert_eq!(taken.unwrap_err().status, 409);
    let update = group("/g", "{}").unwrap();
    let exists = rig.command(Command::CreateGroup { id: path("/g"), update, force: false });
    assert_eq!(
        exists.unwrap_err().body.message,
        "Group /g is already created. Use PUT to change this group."
    );
}

#[test]
fn an_app_takes_the_place_of_a_group_that_has_no_apps_left() {
    let mut rig = Rig::new().agent("a", 10.0);
    rig.create(r#"{"id":"/g/sub/a","cmd":"a b","cpus":0.1}"#).unwrap();
    rig.create(r#"{"id":"/g/b","cmd":"a b","cpus":0.1}"#).unwrap();
    rig.advance(60);
    rig.delete("/g/sub/a").unwrap();
    assert_eq!(rig.create(r#"{"id":"/g","cmd":"a b"}"#).unwrap_err().status, 422);
    rig.delete("/g/b").unwrap();
    assert!(rig.apps.root().group(&path("/g/sub")).is_some(), "groups stay");
    rig.create(r#"{"id":"/g","cmd":"a b","cpus":0.1}"#).unwrap();
    rig.advance(60);
    for _ in 0..2 {
        assert!(rig.apps.root().group(&path("/g")).is_none());
        assert_eq!(rig.running("/g"), 1);
        rig.fail_over();
        rig.advance(60);
    }
    // And back again.
    rig.delete("/g").unwrap();
    rig.create(r#"{"id":"/g/b","cmd":"a b","cpus":0.1}"#).unwrap();
    rig.advance(60);
    assert_eq!((rig.running("/g/b"), rig.running("/g")), (1, 0));
}

#[test]
fn a_dry_run_says_what_would_happen_and_does_nothing() {
    let mut rig = Rig::new().agent("a", 10.0);
    let update = group("/", SHOP).unwrap();
    let command = Command::UpdateGroup { id: PathId::root(), update, dry_run: true, force: false };
    let Reply::Planned(plan) = rig.command(command).unwrap() else { panic!() };
    assert_eq!(plan.steps.len(), 4);
    assert!(rig.apps.root().group(&path("/shop")).is_none());
    assert!(rig.store.len() <= 1, "only the framework id is stored");
}

#[test]
fn a_group_scales_rolls_back_and_goes() {
    let mut rig = Rig::new().agent("a", 100.0);
    rig.put_group("/", SHOP).unwrap();
    rig.advance(60);
    let first = rig.apps.root().version;
    rig.put_group("/shop", r#"{"scaleBy":1.5}"#).unwrap();
    rig.advance(60);
    let instances = |rig: &Rig, id: &str| rig.apps.app(&path(id)).unwrap().instances;
    assert_eq!(instances(&rig, "/shop/front/web"), 3);
    assert_eq!(instances(&rig, "/shop/db/sql"), 2);
    rig.put_group("/shop", &format!(r#"{{"version":"{first}"}}"#)).unwrap();
    rig.advance(60);
    assert_eq!(instances(&rig, "/shop/front/web"), 2);
    assert_eq!(rig.live_ids().len(), 4);
    assert_eq!(rig.apps.group_versions(&path("/shop")).len(), 3);
    rig.command(Command::DeleteGroup { id: path("/shop"), force: false }).unwrap();
    rig.advance(60);
    assert!(rig.live_ids().is_empty());
    assert!(rig.apps.root().group(&path("/shop")).is_none());
    let gone = rig.command(Command::DeleteGroup { id: path("/shop"), force: false });
    assert_eq!(gone.unwrap_err().body.message, "Group '/shop' does not exist");
}

#[test]
fn a_list_of_apps_in_a_group_is_exactly_what_stays() {
    let mut rig = Rig::new().agent("a", 100.0);
    rig.put_group("/", SHOP).unwrap();
    rig.advance(60);
    rig.put_group("/shop/front", r#"{"apps":[{"id":"web","cmd":"a b","cpus":0.1,"instances":2}]}"#)
        .unwrap();
    rig.advance(60);
    assert!(rig.apps.app(&path("/shop/front/edge")).is_none());
    assert_eq!(rig.live_ids().len(), 3);
    assert!(rig.apps.app(&path("/shop/db/sql")).is_some());
}

#[test]
fn a_role_policy_stands_only_at_the_top_and_changes_alone() {
    let mut rig = Rig::new();
    rig.create(r#"{"id":"/g/h/a","cmd":"a b"}"#).unwrap();
    let deep = rig.command(Command::EnforceRole { id: path("/g/h"), enforce: true });
    assert_eq!(deep.unwrap_err().status, 422);
    assert_eq!(
        rig.command(Command::EnforceRole { id: path("/g"), enforce: true }).unwrap(),
        Reply::Done
    );
    assert_eq!(rig.apps.root().group(&path("/g")).unwrap().enforce_role, Some(true));
    rig.create(r#"{"id":"/g/b","cmd":"a b"}"#).unwrap();
    assert_eq!(rig.apps.app(&path("/g/b")).unwrap().role.as_str(), "g");
}

#[test]
fn service_ports_are_kept_and_never_given_twice() {
    let mut rig = Rig::new();
    rig.create(r#"{"id":"/a","cmd":"a b","ports":[0,0]}"#).unwrap();
    rig.create(r#"{"id":"/b","cmd":"a b","ports":[0,10003]}"#).unwrap();
    rig.create(r#"{"id":"/c","cmd":"a b","ports":[0]}"#).unwrap();
    let ports =
        |rig: &Rig, id: &str| rig.apps.app(&path(id)).unwrap().service_ports().collect::<Vec<_>>();
    assert_eq!(ports(&rig, "/a"), [10_000, 10_001]);
    assert_eq!(ports(&rig, "/b"), [10_002, 10_003]);
    assert_eq!(ports(&rig, "/c"), [10_004]);
    rig.force("/a", r#"{"cmd":"c d","ports":[0,0,0]}"#).unwrap();
    assert_eq!(ports(&rig, "/a"), [10_000, 10_001, 10_005]);
}
